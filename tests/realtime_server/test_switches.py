from __future__ import annotations

from pathlib import Path

import pytest

from trio_voice.errors import ConfigError
from trio_voice.realtime_server.switches import DEFAULT_SWITCHES, Switches, describe_switches, parse_assignments, switch_table


def test_a_copy_is_changed_and_checked() -> None:
    changed = DEFAULT_SWITCHES.changed({"stragglers": 2, "pace": 0}, "here")
    assert (changed.stragglers, changed.pace, DEFAULT_SWITCHES.stragglers) == (2, 0.0, 0)
    for wrong in ({"straggler": 1}, {"stragglers": -1}, {"stragglers": "two"}, {"delta_ms": 60}, {"close_code": 1}):
        with pytest.raises(ConfigError, match="here: "):
            DEFAULT_SWITCHES.changed(wrong, "here")


def test_assignments_of_a_command_line() -> None:
    assert parse_assignments(("stragglers=2", "late_done=true", "done_order=output_first", "pace=1.5")) == {
        "stragglers": 2,
        "late_done": True,
        "done_order": "output_first",
        "pace": 1.5,
    }
    for wrong in ("stragglers", "=2"):
        with pytest.raises(ConfigError, match="NAME=VALUE"):
            parse_assignments((wrong,))


def test_the_page_lists_the_current_switches() -> None:
    page = (Path(__file__).parents[2] / "docs" / "realtime-server.md").read_text(encoding="utf-8")
    listed = page.partition("compares them -->\n")[2].partition("<!-- end of switches")[0]
    assert listed == switch_table()


def test_every_switch_says_what_it_does() -> None:
    described = describe_switches()
    assert [name for name, _, _ in described] == list(Switches.__struct_fields__)
    assert all(meaning for _, _, meaning in described)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("foo=1", "--set: there is no switch foo; the switches are listed by: trio-voice model --switches"),
        ("straggler=1", "--set: there is no switch straggler; did you mean stragglers?"),
        ("stragglers=many", "--set: stragglers = 'many': must be a whole number"),
        ("stragglers=-1", "--set: stragglers = -1: must be a whole number >= 0"),
        ("no_quota=7", "--set: no_quota = 7: must be true or false"),
    ],
)
def test_a_wrong_assignment_is_a_sentence(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        DEFAULT_SWITCHES.changed(parse_assignments((assignment,)), "--set")
    assert str(error.value) == says
