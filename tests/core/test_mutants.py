"""That the core's tests notice when it is broken, cell by cell and statement by statement; and that the tool can tell."""

import subprocess
import sys

import pytest

from tests.tools import mutate


def test_every_cell_is_broken_in_every_way() -> None:
    whats = [change.what for change in mutate.cells()]
    assert len(whats) == len(set(whats)) == 12 * 6 * 7 + 7 * 4 + 6 * 3


def test_a_break_is_one_change() -> None:
    own = mutate.CORE.joinpath("keypad.py").read_text(encoding="utf-8")
    breaks = list(mutate.statements("keypad"))
    assert len({change.source for change in breaks}) == len(breaks) > 5
    assert own not in {change.source for change in breaks}


@pytest.mark.prove
@pytest.mark.parametrize(("what", "noticed"), [("LAST_KEY = '#'", False), ("LAST_KEY = '*'", True)])
def test_only_what_is_broken_is_noticed(what: str, noticed: bool) -> None:
    """In a fresh interpreter, as the tool runs: the core must not have been imported before."""
    source = mutate.CORE.joinpath("keypad.py").read_text(encoding="utf-8").replace('LAST_KEY = "#"', what)
    script = f"from tests.tools.mutate import *; print(is_noticed(Break('trio_voice.core.keypad', '', {source!r})))"
    told = subprocess.run([sys.executable, "-c", script], cwd=mutate.ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(noticed)


@pytest.mark.prove
def test_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.tools.mutate", "--sample", "5", "--cells", "10"],
        cwd=mutate.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with capsys.disabled():
        print("\n" + told)
    of_cells, of_statements = [float(line.rpartition(" ")[2].rstrip("%")) for line in told.splitlines() if line.endswith("%")]
    assert of_cells == 100.0
    assert of_statements >= 60.0  # of so few, each that is missed weighs much
