from __future__ import annotations

import json
from pathlib import Path

import pytest

from trio_voice.errors import ConfigError
from trio_voice.realtime_server.script import default_script, json_schema, parse_script, read_script

ROOT = Path(__file__).parents[2]


def test_a_whole_script() -> None:
    script = parse_script(
        """
        name = "test"
        [switches]
        pace = 1
        [[rule]]
        when = { turn = 1 }
        say = "hello"
        """,
        "test",
    )
    assert (script.name, script.switches.pace, script.rule[0].say) == ("test", 1.0, "hello")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rule = ", "not valid TOML"),
        ("name = 'x'", "missing required field `rule`"),
        ("[[rule]]\nsays = 'x'", "unknown field `says`"),
        ("[[rule]]\nsay = 'x'\nwhen = { turns = 1 }", "unknown field `turns`"),
        ("[[rule]]\nsay = 'x'\nwhen = { about = 'noise' }", "about"),
        ("[[rule]]\nsay = 'x'\nwhen = { text = '(' }", "rule 1: when.text is no regular expression"),
        ("[[rule]]\nsay = 'x'\n[[rule]]\nwhen = { turn = 1 }", "rule 2: it says nothing"),
        ("[[rule]]\nsay = 'x'\nparts = [{ say = 'y' }]", "either say or parts"),
        ("[[rule]]\nsay = []", "an empty list"),
        ("[[rule]]\nparts = [{ }]", "needs either say or call"),
        ("[[rule]]\nparts = [{ mcp = 'm', call = 'c' }]", "no [[mcp]] server 'm' with a tool 'c'"),
        ("[[rule]]\nsay = 'x'\nswitches = { pacing = 1 }", "rule 1: switches"),
        ("switches = { pace = -1 }\n[[rule]]\nsay = 'x'", "switches.pace"),
        ("[[rule]]\nsay = 'x'\ntimes = 0", "times"),
    ],
)
def test_every_mistake_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_script(text, "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert problem in str(caught.value)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_script(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_script(tmp_path / "bad.toml")
    (tmp_path / "good.toml").write_text("[[rule]]\nsay = 'x'")
    assert read_script(tmp_path / "good.toml").rule[0].say == "x"


def test_the_default_script_is_right() -> None:
    assert default_script().name == "receptionist"


def test_the_published_schema_is_the_current_one() -> None:
    published = json.loads((ROOT / "docs" / "realtime-script.schema.json").read_text())
    assert published == json_schema()
