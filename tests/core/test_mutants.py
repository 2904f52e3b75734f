"""That the core's tests notice when it is broken, cell by cell and statement by statement; and that the tool can tell."""

import subprocess
import sys

import pytest

from tests.tools import mutate
from tests.tools.breaks import CORE, cells, statements


def test_every_cell_is_broken_in_every_way() -> None:
    whats = [change.what for change in cells()]
    assert len(whats) == len(set(whats)) == 12 * 6 * 7 + 8 * 5 * 5 + 7 * 4 + 6 * 3


def test_a_break_is_one_change() -> None:
    own = CORE.joinpath("keypad.py").read_text(encoding="utf-8")
    breaks = list(statements("keypad"))
    assert len({change.source for change in breaks}) == len(breaks) > 5
    assert own not in {change.source for change in breaks}
    assert {change.function for change in breaks} == {None, "Keypad.press", "Keypad.wait", "Keypad.take"}


def told_by(script: str) -> list[str]:
    """What a script prints in a fresh interpreter, as the tool runs: a break must not stay in this one."""
    command = [sys.executable, "-c", "from tests.tools.breaks import *; from tests.tools.mutate import *\n" + script]
    return subprocess.run(command, cwd=mutate.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.prove
def test_only_what_is_broken_is_noticed() -> None:
    keypad = CORE.joinpath("keypad.py").read_text(encoding="utf-8")
    changes = [
        (None, keypad),
        (None, keypad.replace('LAST_KEY = "#"', 'LAST_KEY = "*"')),
        ("Keypad.press", keypad),
        ("Keypad.press", keypad.replace("return key == LAST_KEY", "return key != LAST_KEY")),
    ]
    told = told_by(
        f"""
def work(trials):
    for function, source in {changes!r}:
        print(trials.is_noticed(Break("trio_voice.core.keypad", "", source, function)))
with_the_tests(work)"""
    )
    assert told == ["False", "True", "False", "True"]


def test_a_break_is_everywhere() -> None:
    """In a table as well as in the constants made of it, in a function, a method and a property, and where they are imported."""
    told = told_by(
        """
from trio_voice.core import announcements, response, states, texts
from trio_voice.core.deadlines import Deadlines, Timer
def put(module, function, old, new):
    source = CORE.joinpath(f"{module}.py").read_text(encoding="utf-8")
    assert old in source
    put_in_place(Break(f"trio_voice.core.{module}", "", source.replace(old, new), function))
put("states", None, "Signal.CREATED:        (_ACT,", "Signal.CREATED:        (_IDLE,")
print(response.RESPONSE_TABLE[states.Signal.CREATED][states.ResponseState.IDLE].name)
put("announcements", None, "{Purpose.INJECTED_TEXT, Purpose.NOTICE}", "{Purpose.NOTICE}")
print(len(announcements.ANNOUNCED), len(texts.NOT_CUT))
put("response", "merged", "if request.instructions is None", "if True")
print(response.merged(response.Request(states.Refusal.ECHO), response.Request(states.Refusal.ECHO, "x")).instructions)
put("deadlines", "Deadlines.set", "self._at[timer] = at", "self._at[timer] = at + 1")
put("deadlines", "Deadlines.next_at", "return self._next", "return -self._next")
deadlines = Deadlines()
deadlines.set(Timer.MARK, 1.0)
print(deadlines.at(Timer.MARK), deadlines.next_at)"""
    )
    assert told == ["IDLE", "1 3", "None", "2.0 -2.0"]


@pytest.mark.prove
def test_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.tools.mutate", "--sample", "60", "--cells", "60"],
        cwd=mutate.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with capsys.disabled():
        print("\n" + told)
    of_cells, of_statements = [float(line.rpartition(" ")[2].rstrip("%")) for line in told.splitlines() if line.endswith("%")]
    assert of_cells == 100.0
    assert of_statements >= 85.0
