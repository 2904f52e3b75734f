"""Who may import whom. The rules are a table; every import counts, also in functions and under TYPE_CHECKING."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
PACKAGE = "trio_voice"

BASE = {"errors", "audio"}
MAY_IMPORT: Mapping[str, set[str]] = {
    "errors": set(),
    "_speedups": set(),  # in C; what it does has its reference in those who import it
    "audio": {"errors", "_speedups"},
    "core": BASE,
    "dialects": BASE | {"core"},  # dialects and realtime never meet
    "realtime": BASE | {"core"},
    "agent": BASE | {"core", "realtime"},
    "storage": BASE | {"core", "dialects", "realtime", "_speedups"},
    "server": BASE | {"core", "dialects", "realtime", "agent", "storage", "_speedups"},
    "records": BASE | {"storage", "server"},
    "recording": BASE | {"core", "storage", "server"},
    "web": BASE | {"core", "dialects", "realtime", "agent", "storage", "server"},
    "realtime_server": BASE,  # a server that shared our codec would agree with our mistakes
    "phone": BASE | {"storage"},  # so would a telephone
    "program": BASE
    | {"core", "dialects", "realtime", "agent", "storage", "server", "records", "recording", "web", "realtime_server"},
}
"""Each part and the others that it may import; `program` is the modules at the top: the command line, the configuration, ..."""

PROGRAM_MAY_IMPORT: Mapping[str, set[str]] = {
    "settings_sources": {"errors"},
    "run_file": {"errors"},
    "cli": {"errors"},
    "sections": {"realtime"},
    "config": BASE | {"core", "realtime", "agent", "recording", "records", "program"},
    "logs": {"program", "storage"},
}
"""The modules at the top that are kept smaller than `program`."""

MAY_NOT_REACH: Mapping[str, set[str]] = {
    "phone": {"core", "dialects", "realtime", "agent", "server", "web", "realtime_server"},
    "realtime_server": {"core", "dialects", "realtime", "agent", "server", "web", "storage", "phone"},
}
"""The outsiders: what they must not get to through others either."""

CORE_LIBRARIES = {"__future__", "attrs", "bisect", "collections", "enum", "math", "typing"}
"""All that `core` may import from outside: nothing that reads a clock, draws a number, logs, waits, or does I/O."""

BANNED = {"asyncio"}
DYNAMIC_IMPORTS = {"trio_voice.cli"}
"""Modules that may import by a name made at run time: the command line, whose table the last test here checks."""


@frozen
class Import:
    """`module` imports `name`, in this line. An import by a name that is made at run time has the name "?"."""

    module: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


def imports_in(module: str, source: str, is_package: bool = False) -> Iterator[Import]:
    """Every import in a source text, wherever it stands."""
    parts = module.split(".")
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (Import(module, alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=name, names=names, level=level):
                home = parts[: len(parts) - level + is_package] if level else []
                base = ".".join([*home, *([name] if name else [])])
                # Whether `x` of `from package import x` is a module or something in one makes no difference to the rules.
                yield from (Import(module, f"{base}.{alias.name}", node.lineno) for alias in names)
            case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"), args=args):
                first = args[0] if args else None
                known = isinstance(first, ast.Constant) and isinstance(first.value, str)
                yield Import(module, str(first.value) if known and isinstance(first, ast.Constant) else "?", node.lineno)


def part_of(name: str) -> str:
    """The part of the package that a module, or something in it, belongs to."""
    parts = name.split(".")
    if len(parts) == 1:
        return "program"
    return parts[1] if parts[1] in MAY_IMPORT else "program"


def allowed_to(module: str) -> set[str]:
    part = part_of(module)
    if part == "program" and "." in module:
        return PROGRAM_MAY_IMPORT.get(module.split(".")[1], MAY_IMPORT["program"] | {"program"})
    return MAY_IMPORT[part] | {part}


def violations(imports: Iterable[Import]) -> list[str]:
    """What the rules forbid."""
    found = []
    for each in imports:
        top = each.name.split(".")[0]
        if each.name == "?":
            if each.module not in DYNAMIC_IMPORTS:
                found.append(f"{each.module}:{each.line} imports by a name made at run time")
        elif top in BANNED:
            found.append(f"{each}: everything here runs under Trio")
        elif top == PACKAGE:
            if part_of(each.name) not in allowed_to(each.module):
                found.append(f"{each}: {part_of(each.module)} may import {', '.join(sorted(allowed_to(each.module)))}")
        elif part_of(each.module) == "core" and top not in CORE_LIBRARIES:
            found.append(f"{each}: core may import {', '.join(sorted(CORE_LIBRARIES))}")
    return found


def reached_from(part: str, imports: Iterable[Import]) -> set[str]:
    """The other parts that a part gets to, directly or through the modules that it imports."""
    targets: dict[str, set[str]] = {}
    for each in imports:
        targets.setdefault(each.module, set()).add(each.name)
    reached: set[str] = set()
    visited: set[str] = set()
    waiting = [module for module in targets if part_of(module) == part]
    while waiting:
        module = waiting.pop()
        if module in visited:
            continue
        visited.add(module)
        names = {name for name in targets.get(module, set()) if name.startswith(f"{PACKAGE}.")}
        reached |= names
        waiting.extend(names | {name.rpartition(".")[0] for name in names})  # a module, or a name in one
    return {part_of(name) for name in reached} - {part}


@cache
def all_imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        found.extend(imports_in(module, path.read_text(encoding="utf-8"), is_package))
    return tuple(found)


# --- the package -------------------------------------------------------------------------------------------------------


def test_nobody_imports_what_the_layers_forbid() -> None:
    assert violations(all_imports()) == []


@pytest.mark.parametrize("part", MAY_NOT_REACH)
def test_the_outsiders_do_not_get_to_our_codecs_through_others(part: str) -> None:
    assert reached_from(part, all_imports()) & MAY_NOT_REACH[part] == set()


def test_every_part_of_the_package_has_a_rule() -> None:
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(MAY_IMPORT) - {"errors", "program", "_speedups"}


def test_the_rules_have_no_circle() -> None:
    done: set[str] = set()
    while ready := [part for part, others in MAY_IMPORT.items() if part not in done and others <= done]:
        done.update(ready)
    assert done == set(MAY_IMPORT)


# --- the test itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("trio_voice.core.call", "import trio"),
        ("trio_voice.core.call", "import time"),
        ("trio_voice.core.call", "from random import random"),
        ("trio_voice.core.call", "import logging"),
        ("trio_voice.core.call", "from trio_voice.server import outbox"),
        ("trio_voice.core.call", "def f():\n    from trio_voice.dialects.base import Dialect"),
        ("trio_voice.core.call", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trio_voice.web import app"),
        ("trio_voice.core.call", "from ..realtime import codec"),
        ("trio_voice.dialects.twilio", "from trio_voice.realtime.codec import encode"),
        ("trio_voice.dialects.twilio", "from trio_voice import realtime"),
        ("trio_voice.realtime.codec", "import trio_voice.dialects.base"),
        ("trio_voice.server.model", "from trio_voice.web.app import create_app"),
        ("trio_voice.server.model", "from trio_voice.config import Settings"),
        ("trio_voice.server.model", "from trio_voice import config"),
        ("trio_voice.server.model", "import asyncio"),
        ("trio_voice.server.model", "from asyncio import sleep"),
        ("trio_voice.server.model", "import importlib\nimportlib.import_module('trio_voice.web.app')"),
        ("trio_voice.server.model", "from importlib import import_module\nimport_module('trio_voice.' + 'web')"),
        ("trio_voice.web.app", "from trio_voice.serve import run_server"),
        ("trio_voice.realtime_server.session", "from trio_voice.core.events import Event"),
        ("trio_voice.realtime_server.session", "from trio_voice.phone.voice import Speech"),
        ("trio_voice.phone.caller", "from trio_voice.dialects.twilio import TwilioDialect"),
        ("trio_voice.phone.caller", "from trio_voice.realtime_server.server import serve_model"),
        ("trio_voice.audio.wav", "from trio_voice.core.events import Event"),
        ("trio_voice.settings_sources", "from trio_voice.config import Settings"),
        ("trio_voice.cli", "from trio_voice.serve import serve"),
    ],
)
def test_a_forbidden_import_is_seen(module: str, source: str) -> None:
    assert len(violations(imports_in(module, source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("trio_voice.core.call", "from collections.abc import Mapping\nimport math\nfrom attrs import define"),
        ("trio_voice.core.call", "from trio_voice.audio.levels import rms_dbfs\nfrom .events import Event"),
        ("trio_voice.server.model", "import trio, msgspec\nfrom trio_voice.realtime.codec import encode"),
        ("trio_voice.serve", "from trio_voice.web.app import create_app\nfrom trio_voice.config import Settings"),
        ("trio_voice.phone.caller", "from trio_voice.storage.timeline import draw\nfrom trio_voice.errors import UserError"),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str) -> None:
    assert violations(imports_in(module, source)) == []


def test_a_way_around_a_rule_is_seen() -> None:
    imports = [
        *imports_in("trio_voice.phone.caller", "from trio_voice.storage.journal import Header"),
        *imports_in("trio_voice.storage.journal", "from trio_voice.storage import words"),
        *imports_in("trio_voice.storage.words", "def f():\n    from trio_voice.core.events import Event"),
        *imports_in("trio_voice.storage.other", "from trio_voice.dialects.base import Dialect"),
    ]
    assert reached_from("phone", imports) == {"storage", "core"}


def test_a_packages_own_relative_import_stays_in_the_package() -> None:
    (found,) = imports_in("trio_voice.core", "from .call import Call", is_package=True)
    assert found.name == "trio_voice.core.call.Call"


def test_the_command_lines_table_names_modules_that_are_there() -> None:
    from trio_voice.cli import COMMANDS

    for module, _ in COMMANDS.values():
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()
