"""What `mutate` breaks: every cell of the core's tables in every way, and single things in its functions and constants."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import frozen

CORE = Path(__file__).resolve().parents[2] / "trio_voice" / "core"
STATES = "trio_voice.core.states"


@frozen
class Break:
    """One change of `module`: in the function with this qualified name or, None, in its constants."""

    module: str
    what: str
    source: str
    function: str | None = None


# --- cells


def cells() -> Iterator[Break]:
    """Every cell of the tables in `states`, with every other value."""
    path = CORE / "states.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _rows(tree, "_ROWS", ("_IDLE", "_REQ", "_DOOM", "_ACT", "_CANC", "_BLOCK"), ("OURS", "PEERS"))
    yield from _rows(tree, "_CHANGE_ROWS", ("_SET", "_WAIT", "_UPD", "_OPEN", "_READY"), ("OURS",))
    refusals = _table(tree, "REFUSALS")
    for place, key in enumerate(refusals.keys):
        was = refusals.values[place]
        for other in ("None", "Refusal.NO_SESSION", "Refusal.GREETING_LOCK", "Refusal.HANG_UP_PENDING", "Refusal.CLOSING"):
            if other != ast.unparse(was):
                refusals.values[place] = ast.parse(other, mode="eval").body
                yield _break(tree, f"{ast.unparse(key or was)}: {ast.unparse(was)} becomes {other}")
        refusals.values[place] = was
    yield from _mirror(tree)


def _rows(tree: ast.Module, name: str, columns: Sequence[str], faults: Sequence[str]) -> Iterator[Break]:
    rows = _table(tree, name)
    for key, row in zip(rows.keys, rows.values, strict=True):
        assert isinstance(row, ast.Tuple)
        for place, column in enumerate(columns):
            was = row.elts[place]
            for other in (*columns, *faults):
                if other != ast.unparse(was):
                    row.elts[place] = ast.Name(other, ast.Load())
                    never = "never entered: " if ast.unparse(was) == "OURS" else ""
                    yield _break(tree, f"{never}{ast.unparse(key or was)} in {column}: {ast.unparse(was)} becomes {other}")
            row.elts[place] = was


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
    for function, (undo, what) in _changes(tree):
        changed = ast.unparse(ast.fix_missing_locations(tree))
        yield Break(f"trio_voice.core.{module}", f"{module}.py {what}", changed, function)
        undo()


def _changes(tree: ast.Module) -> Iterator[tuple[str | None, Change]]:
    for node in tree.body:
        match node:
            case ast.FunctionDef():
                yield from ((node.name, change) for change in _of_a_function(node))
            case ast.ClassDef():
                methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]
                yield from ((f"{node.name}.{method.name}", change) for method in methods for change in _of_a_function(method))
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                yield from ((None, change) for change in _of_a_constant_table(value))
            case _:
                pass


def _of_a_function(node: ast.FunctionDef) -> Iterator[Change]:
    for child in list(ast.walk(node)):
        yield from _of_an_expression(child)
    yield from _of_a_body(node)


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
