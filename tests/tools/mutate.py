"""Breaks the core on purpose and counts which breaks the tests notice: `python -m tests.tools.mutate [--sample N] [--cells N]`.

Two kinds of breaks. *Cells*: every cell of the response table, of its mirror, of the change table and of the refusals is changed,
each to every other value that it could have. *Statements*: a comparison is turned round, a condition forced, a number moved, a
statement left out, and so on; there are thousands, of which a sample is drawn with a fixed seed.

The tests of tests/core are collected once, and run once to see which of them call which function of the core. Every break is
tried in a process of its own, forked from the one that has collected them: there the broken function, or the broken constants,
are put in the place of the whole ones. The tests that call the function run first, those of its own module before the others;
only if they notice nothing, the explorations follow. A break that nothing notices is printed: it shows a missing test, or code
that nothing needs.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import FrameType, FunctionType, ModuleType

import pytest
from _pytest.runner import runtestprotocol
from attrs import define, field

from tests.tools.breaks import CORE, Break, cells, statements

ROOT = CORE.parents[1]
EXPLORATIONS = ("test_any_order.py", "test_every_order.py")
TABLE_TEST = "test_states.py"
OPTIONS = [
    *("-c", os.devnull, f"--rootdir={ROOT}", "--import-mode=importlib", "-o", "pythonpath=.", "-W", "ignore"),
    *("-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:terminal"),
    *("-k", "not (test_r24 or test_r01_one or for_long or as_deep or many_long)"),  # of the whole package, or too long
    *("--ignore=tests/core/test_mutants.py", "tests/core"),
]
LIMIT_S = 120
SEED = 2026


# --- a break in its place


def put_in_place(change: Break) -> None:
    """Break the core in this process: everything that has imported it sees it broken."""
    module = importlib.import_module(change.module)
    tree = ast.parse(change.source)
    if change.function is not None:
        _replace_function(module, tree, change.function)
    else:
        _replace_constants(module, tree)


def _replace_function(module: ModuleType, tree: ast.Module, name: str) -> None:
    owner, body = vars(module), tree.body
    *classes, last = name.split(".")
    for outer in classes:
        owner = dict(vars(owner[outer]))
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == outer).body
    broken = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == last)
    broken.decorator_list = []
    scope = dict(vars(module))
    exec(compile(ast.Module([broken], []), str(module.__file__), "exec"), scope)
    old, new = owner[last], scope[last]
    whole = old.fget if isinstance(old, property) else old
    assert isinstance(whole, FunctionType)
    whole.__code__, whole.__defaults__, whole.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def _replace_constants(module: ModuleType, tree: ast.Module) -> None:
    """The module's assignments, made again with its classes as they are; a table is changed in its place."""
    scope = dict(vars(module))
    constants: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    exec(compile(ast.Module(constants, []), str(module.__file__), "exec"), scope)
    for name, old in list(vars(module).items()):
        new = scope[name]
        if old == new:
            continue
        if isinstance(old, dict):
            old.clear()
            old.update(new)
        else:
            for other in list(sys.modules.values()):
                if vars(other).get(name) is old:
                    setattr(other, name, new)


# --- trying


@define
class Trials:
    """The collected tests, as a plugin of pytest's: `work` is called with them in the place of its own loop."""

    work: Callable[[Trials], None]
    quick: list[pytest.Item] = field(factory=list, init=False)
    explorations: list[pytest.Item] = field(factory=list, init=False)
    callers: Mapping[tuple[str, str], list[pytest.Item]] = field(factory=dict, init=False)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """See which test calls what, then let the work be done."""
        self.explorations = [item for item in session.items if item.path.name in EXPLORATIONS]
        self.quick = [item for item in session.items if item.path.name not in EXPLORATIONS]
        self.callers = _callers(self.quick)
        self.work(self)
        return True

    def is_noticed(self, change: Break, *, without: str = "", only: str = "") -> bool:
        """Whether a test fails, in a process of its own, when the core is broken so. One that hangs counts as noticed."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(LIMIT_S)
                with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                    os.dup2(nowhere.fileno(), 2)
                put_in_place(change)
                status = any(_fails(items) for items in self._that_may_notice(change, without, only))
            finally:
                os._exit(1 if status else 0)
        _, ended = os.waitpid(child, 0)
        return ended != 0

    def _that_may_notice(self, change: Break, without: str, only: str) -> Iterable[list[pytest.Item]]:
        quick, own = self.quick, f"test_{change.module.rpartition('.')[2]}.py"
        if change.function is not None:
            quick = self.callers.get((change.module, change.function), [])
        if only:
            return [[item for item in quick if item.path.name == only]]
        first = [item for item in quick if item.path.name == own != without]
        then = [item for item in quick if item.path.name not in (own, without)]
        return first, then, self.explorations

    def unnoticed(self, changes: Iterable[Break], *, without: str = "") -> list[Break]:
        """The breaks that nothing notices."""
        return [change for change in changes if not self.is_noticed(change, without=without)]


def _fails(items: Sequence[pytest.Item]) -> bool:
    """Whether one of the tests fails; those behind it do not run."""
    return any(
        report.failed
        for item, following in zip(items, [*items[1:], None], strict=True)
        for report in runtestprotocol(item, log=False, nextitem=following)
    )


def _callers(items: Sequence[pytest.Item]) -> dict[tuple[str, str], list[pytest.Item]]:
    """Which tests call which function of the core, by its module and its qualified name."""
    callers: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        called: set[tuple[str, str]] = set()
        with _watching(called):
            assert not _fails([item]), f"{item.nodeid} fails without any break"
        for function in called:
            callers.setdefault(function, []).append(item)
    return callers


def _watching(called: set[tuple[str, str]]) -> AbstractContextManager[object]:
    core = f"{CORE}{os.sep}"

    def see(frame: FrameType, event: str, arg: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(core):
            called.add((f"trio_voice.core.{Path(code.co_filename).stem}", code.co_qualname))

    stack = ExitStack()
    stack.callback(sys.settrace, sys.gettrace())
    sys.settrace(see)
    return stack


def with_the_tests(work: Callable[[Trials], None]) -> None:
    """Collect the tests of the core and do something with them. What plugins bring is not needed, and would cost time."""
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if pytest.main(OPTIONS, plugins=[Trials(work)]):
        raise SystemExit("the tests of the core could not be run")


# --- scores


def try_cells(trials: Trials, number: int | None, report: Callable[[str], None] = print) -> float:
    """Try all cells, or a sample of so many, always the same one; the share that is noticed.

    A cell that would be our own fault is never entered, so that only the test that repeats the table can notice its change. All
    others are tried without that test first.
    """
    every = list(cells())
    if number is not None:
        every = random.Random(SEED).sample(every, min(number, len(every)))
    entered = [change for change in every if not change.what.startswith("never entered")]
    by_the_table_alone = trials.unnoticed(entered, without=TABLE_TEST)
    report(
        f"{len(entered) - len(by_the_table_alone)} of {len(entered)} changes of cells that are entered: noticed by what happens"
    )
    for change in by_the_table_alone:
        report(f"not noticed by what happens: {change.what}")
    missed = [change for change in every if not trials.is_noticed(change, only=TABLE_TEST)]
    return _share(trials.unnoticed(missed), len(every), report)


def try_statements(trials: Trials, number: int, module: str | None, report: Callable[[str], None] = print) -> float:
    """Try a sample of all statement breaks, always the same one; the share that is noticed."""
    every = [change for name in ([module] if module else modules()) for change in statements(name)]
    drawn = random.Random(SEED).sample(every, min(number, len(every)))
    report(f"{len(drawn)} of {len(every)} breaks of statements")
    return _share(trials.unnoticed(drawn), len(drawn), report)


def _share(missed: Sequence[Break], of: int, report: Callable[[str], None]) -> float:
    for change in missed:
        report(f"not noticed: {change.what}")
    report(f"{of - len(missed)} of {of} noticed: {1 - len(missed) / of:.1%}")
    return 1 - len(missed) / of


def modules() -> list[str]:
    """The modules of the core that do something."""
    return sorted(path.stem for path in CORE.glob("*.py") if path.stem != "__init__")


def main() -> None:
    """Print both scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=200, help="how many statement breaks (default 200)")
    parser.add_argument("--cells", type=int, help="how many changes of cells (default all)")
    parser.add_argument("--module", choices=modules(), help="statement breaks of one module only, and no cells")
    arguments = parser.parse_args()

    def both(trials: Trials) -> None:
        if arguments.module is None:
            try_cells(trials, arguments.cells)
        try_statements(trials, arguments.sample, arguments.module)

    with_the_tests(both)


if __name__ == "__main__":
    main()
