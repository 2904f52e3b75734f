"""The agents in docs/agents.md and README.md can be loaded as they stand there."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from trio_voice.agent.agent import Agent
from trio_voice.agent.context import CallContext
from trio_voice.agent.tool import tool
from trio_voice.agent_file import load_agent
from trio_voice.errors import UserError

PAGE = Path(__file__).parent.parent / "docs" / "agents.md"
README = Path(__file__).parent.parent / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path[:], set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(text: str) -> Agent:
    Path("my_agent.py").write_text(text, encoding="utf-8")
    return load_agent("my_agent.py").agent


@pytest.mark.parametrize(
    ("block", "tools"),
    list(enumerate([["hang_up", each] for each in ("book", "order_taxi", "assess", "transfer_to_billing")])),
)
def test_an_agent_of_the_page_can_be_served(block: int, tools: list[str]) -> None:
    assert list(load(BLOCKS[block]).toolbox) == tools


def test_the_readmes_agent_has_20_lines_and_can_be_served() -> None:
    (text,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(text.splitlines()) == 20
    agent = load(text)
    assert (agent.name, list(agent.toolbox)) == ("practice of Doctor Green", ["hang_up", "book"])


def test_what_the_page_says_about_testing_is_so() -> None:
    load(BLOCKS[0])
    exec(BLOCKS[5])
    assert len(BLOCKS) == 6


def test_the_mistake_that_the_page_shows_is_the_one_that_is_made() -> None:
    with pytest.raises(UserError) as error:
        load(BLOCKS[0].replace("hour: int = 9", "hour: int = None"))
    assert f"trio-voice: {error.value}\n" in TEXT


def test_every_field_and_method_is_on_the_page() -> None:
    fields = [field.name for kind in (Agent, CallContext) for field in attrs.fields(kind)]
    methods = [name for name, value in vars(CallContext).items() if inspect.isfunction(value)]
    options = inspect.signature(tool).parameters
    names = [name for name in (*fields, *methods, *options) if not name.startswith("_")]
    assert [name for name in names if not re.search(rf"[`(]{name}\b", TEXT)] == ["function"]
