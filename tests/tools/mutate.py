"""Breaks the core on purpose and counts which breaks the tests notice: `python -m tests.tools.mutate [--sample N] [--cells N]`.

Two kinds of breaks. *Cells*: every cell of the response table, of its mirror and of the refusals is changed, each to every other
value that it could have. *Statements*: a comparison is turned round, a condition forced, a number moved, a statement left out,
and so on; there are thousands, of which a sample is drawn with a fixed seed.

Every break is tried in a process of its own, forked before the core is imported, with the quick tests of tests/core first and, if
those notice nothing, with the explorations. A break that nothing notices is printed: it shows a missing test, or code that
nothing needs.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from attrs import define, frozen

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "trio_voice" / "core"
STATES = "trio_voice.core.states"
EXPLORATIONS = ("test_any_order.py", "test_every_order.py")
TABLE_TEST = "test_states.py"
LIMIT_S = 120
SEED = 2026


@frozen
class Break:
    """One change: `module` gets `source` instead of its own."""

    module: str
    what: str
    source: str


# --- cells


def cells() -> Iterator[Break]:
    """Every cell of the tables in `states`, with every other value."""
    path = CORE / "states.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    rows = _table(tree, "_ROWS")
    columns = ("_IDLE", "_REQ", "_DOOM", "_ACT", "_CANC", "_BLOCK")
    for key, row in zip(rows.keys, rows.values, strict=True):
        assert isinstance(row, ast.Tuple)
        for place, column in enumerate(columns):
            was = row.elts[place]
            for other in (*columns, "OURS", "PEERS"):
                if other != ast.unparse(was):
                    row.elts[place] = ast.Name(other, ast.Load())
                    never = "never entered: " if ast.unparse(was) == "OURS" else ""
                    yield _break(tree, f"{never}{ast.unparse(key or was)} in {column}: {ast.unparse(was)} becomes {other}")
            row.elts[place] = was
    refusals = _table(tree, "REFUSALS")
    for place, key in enumerate(refusals.keys):
        was = refusals.values[place]
        for other in ("None", "Refusal.NO_SESSION", "Refusal.GREETING_LOCK", "Refusal.HANG_UP_PENDING", "Refusal.CLOSING"):
            if other != ast.unparse(was):
                refusals.values[place] = ast.parse(other, mode="eval").body
                yield _break(tree, f"{ast.unparse(key or was)}: {ast.unparse(was)} becomes {other}")
        refusals.values[place] = was
    yield from _mirror(tree)


def _mirror(tree: ast.Module) -> Iterator[Break]:
    """The mirror's row for CREATED: one state of it at a time falls back to the ordinary table."""
    mirror = _table(tree, "MIRROR_TABLE")
    was = mirror.values[1]
    for column in ("IDLE", "REQUESTED", "DOOMED", "ACTIVE", "CANCELLING", "BLOCKED"):
        for other in ("PEERS", "OURS", "_IDLE"):
            changed = f"dict.fromkeys(ResponseState, ResponseState.ACTIVE) | {{ResponseState.{column}: {other}}}"
            mirror.values[1] = ast.parse(changed, mode="eval").body
            yield _break(tree, f"the mirror's CREATED in {column} becomes {other}")
    mirror.values[1] = was


def _table(tree: ast.Module, name: str) -> ast.Dict:
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.target.id == name:
            assert isinstance(statement.value, ast.Dict)
            return statement.value
    raise LookupError(name)


def _break(tree: ast.Module, what: str) -> Break:
    return Break(STATES, what, ast.unparse(tree))


# --- statements

_OPPOSITES: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
}
Change = tuple[Callable[[], None], str]


def statements(module: str) -> Iterator[Break]:
    """Every single change of a module that the rules know."""
    source = (CORE / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    for undo, what in _changes(tree):
        yield Break(f"trio_voice.core.{module}", f"{module}.py {what}", ast.unparse(ast.fix_missing_locations(tree)))
        undo()


def _changes(tree: ast.Module) -> Iterator[Change]:
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.FunctionDef):
            for child in list(ast.walk(node)):
                yield from _of_an_expression(child)
            yield from _of_a_body(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node in tree.body and node.value is not None:
            yield from _of_a_constant_table(node.value)


def _of_a_constant_table(value: ast.expr) -> Iterator[Change]:
    for child in ast.walk(value):
        yield from _of_an_expression(child)
        if isinstance(child, ast.Set) and len(child.elts) > 1:
            for place in range(len(child.elts)):
                yield _set(child, "elts", child.elts[:place] + child.elts[place + 1 :], child.lineno, "one of the set is missing")


def _of_an_expression(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[operator]):
            yield from _turned_round(node, "ops", operator)
        case ast.BoolOp(op=operator):
            yield from _turned_round(node, "op", operator)
            yield from _without_a_term(node)
        case ast.BinOp(op=operator):
            yield from _turned_round(node, "op", operator)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _set(node, "operand", ast.UnaryOp(ast.Not(), operand), node.lineno, f"{ast.unparse(node)}: without not")
        case ast.Constant(value=int() | float() as value):
            other = not value if isinstance(value, bool) else value + 1
            yield _set(node, "value", other, node.lineno, f"{value} becomes {other}")
        case ast.If(test=test) | ast.IfExp(test=test):
            for forced in (True, False):
                yield _set(node, "test", ast.Constant(forced), node.lineno, f"if {ast.unparse(test)}: always {forced}")
        case ast.While(test=test):
            yield _set(node, "test", ast.Constant(False), node.lineno, f"while {ast.unparse(test)}: never")


def _turned_round(node: ast.expr, name: str, operator: ast.AST) -> Iterator[Change]:
    for other in _OPPOSITES.get(type(operator), ()):
        value = [other()] if name == "ops" else other()
        yield _set(node, name, value, node.lineno, f"{ast.unparse(node)}: {other.__name__}")


def _without_a_term(node: ast.BoolOp) -> Iterator[Change]:
    for place in range(len(node.values)):
        kept = node.values[:place] + node.values[place + 1 :]
        if len(kept) > 1:
            yield _set(node, "values", kept, node.lineno, f"{ast.unparse(node)}: without its term {place + 1}")


def _of_a_body(node: ast.AST) -> Iterator[Change]:
    for child in ast.walk(node):
        for name, value in ast.iter_fields(child):
            if name not in ("body", "orelse") or not isinstance(value, list):
                continue
            for place, statement in enumerate(value):
                if _can_be_left_out(statement):
                    changed = [*value[:place], ast.Pass(), *value[place + 1 :]]
                    yield _set(child, name, changed, statement.lineno, f"without: {ast.unparse(statement).splitlines()[0]}")


def _can_be_left_out(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Assign | ast.AugAssign | ast.Return | ast.Delete | ast.Raise)


def _set(node: ast.AST, name: str, value: object, line: int, what: str) -> Change:
    before = node.__dict__[name]
    setattr(node, name, value)

    def undo() -> None:
        setattr(node, name, before)

    return undo, f"line {line}: {what}"


# --- trying


@define
class _Loader(importlib.abc.Loader):
    source: str
    path: str

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.path, "exec"), module.__dict__)


@define
class _Finder(importlib.abc.MetaPathFinder):
    change: Break

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.change.module:
            return None
        origin = str(CORE / f"{fullname.rpartition('.')[2]}.py")
        return importlib.util.spec_from_loader(fullname, _Loader(self.change.source, origin), origin=origin)


def is_noticed(change: Break, *, without: Sequence[str] = (), only: Sequence[str] = ()) -> bool:
    """Whether a test fails, in a process of its own, when the core is broken so. One that hangs counts as noticed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(LIMIT_S)
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
                sys.meta_path.insert(0, _Finder(change))
                status = _run_tests(without, only)
        finally:
            os._exit(1 if status else 0)
    _, ended = os.waitpid(child, 0)
    return ended != 0


def _run_tests(without: Sequence[str], only: Sequence[str]) -> int:
    of_the_whole_package = "test_r24 or test_r01_one"
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not prove", "-k", f"not ({of_the_whole_package})"]
    if only:
        return int(pytest.main([*options, *[f"tests/core/{name}" for name in only]]))
    left_out = [f"--ignore=tests/core/{name}" for name in (*EXPLORATIONS, *without)]
    quick = int(pytest.main([*options, *left_out, "tests/core"]))
    return quick or int(pytest.main([*options, *[f"tests/core/{name}" for name in EXPLORATIONS]]))


def unnoticed(changes: Iterable[Break], without: Sequence[str] = ()) -> list[Break]:
    """The breaks that nothing notices."""
    return [change for change in changes if not is_noticed(change, without=without)]


def try_cells(number: int | None = None, report: Callable[[str], None] = print) -> float:
    """Try all cells, or a sample of so many, always the same one; the share that is noticed.

    A cell that would be our own fault is never entered, so that only the test that repeats the table can notice its change. All
    others are tried without that test first.
    """
    every = list(cells())
    if number is not None:
        every = random.Random(SEED).sample(every, min(number, len(every)))
    entered = [change for change in every if not change.what.startswith("never entered")]
    by_the_table_alone = unnoticed(entered, without=(TABLE_TEST,))
    report(
        f"{len(entered) - len(by_the_table_alone)} of {len(entered)} changes of cells that are entered: noticed by what happens"
    )
    for change in by_the_table_alone:
        report(f"not noticed by what happens: {change.what}")
    missed = [change for change in every if not is_noticed(change, only=(TABLE_TEST,))]
    return _share(unnoticed(missed), len(every), report)


def try_statements(number: int, module: str | None = None, report: Callable[[str], None] = print) -> float:
    """Try a sample of all statement breaks, always the same one; the share that is noticed."""
    every = [change for name in ([module] if module else modules()) for change in statements(name)]
    drawn = random.Random(SEED).sample(every, min(number, len(every)))
    report(f"{len(drawn)} of {len(every)} breaks of statements")
    return _share(unnoticed(drawn), len(drawn), report)


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
    os.chdir(ROOT)
    if arguments.module is None:
        try_cells(arguments.cells)
    try_statements(arguments.sample, arguments.module)


if __name__ == "__main__":
    main()
