"""From a file, the environment and flags to attrs classes, one value at a time, so that every error names the key and its origin.

A section is an attrs class whose fields are its settings. Later sources win: the file, then the environment
(`TRIO_VOICE_<SECTION>_<KEY>`), then flags.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec
from attrs import frozen

from trio_voice.errors import ConfigError

PREFIX = "TRIO_VOICE_"
_SHOWN_CHARACTERS = 60
_LISTED_KEYS = 20

Section = TypeVar("Section", bound=attrs.AttrsInstance)
Sections = Mapping[str, type[attrs.AttrsInstance]]
"""The sections' names and classes."""


@frozen
class Given:
    """A setting that somebody gave. `is_text`: it comes from a place where everything is text."""

    value: object
    origin: str
    is_text: bool = False


Values = Mapping[str, Given]
"""What was given, by `section.key`."""


# --- sources -----------------------------------------------------------------------------------------------------------


def from_file(path: Path, sections: Sections, *, refused: Mapping[str, str]) -> dict[str, Given]:
    """Read a TOML file with one table a section. `refused` are names that must not be given, and what to do instead.

    Raises ConfigError.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; give the path of a TOML file, or leave it out") from None
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the file is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    values = {}
    for section, table in tables.items():
        if section not in sections:
            raise ConfigError(f"{path}: {_no_section(section, sections)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} must be a table: write [{section}] and its settings below it")
        for key, value in table.items():
            values[_known(f"{section}.{key}", str(path), sections, refused)] = Given(value, str(path))
    return values


def from_environment(
    environ: Mapping[str, str], sections: Sections, *, refused: Mapping[str, str], others: frozenset[str]
) -> dict[str, Given]:
    """Read the variables that begin with `TRIO_VOICE_`; `others` have a meaning elsewhere. An empty one counts as not given.

    Raises ConfigError.
    """
    known = {name.replace(".", "_").upper(): name for name in names_of(sections)}
    values = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in others or not value:
            continue
        bare = variable.removeprefix(PREFIX)
        if bare not in known:
            meant = _meant_by_variable(bare, sections)
            hint = f"did you mean {PREFIX}{meant}?" if meant else f"they are named {PREFIX}<SECTION>_<KEY>"
            raise ConfigError(f"environment variable {variable}: there is no such setting; {hint}")
        origin = f"environment variable {variable}"
        values[_known(known[bare], origin, sections, refused)] = Given(value, origin, is_text=True)
    return values


def from_assignments(assignments: list[str], sections: Sections, *, refused: Mapping[str, str], flag: str) -> dict[str, Given]:
    """Read `section.key=value` texts, each given with `flag`. Raises ConfigError."""
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {assignment}: must look like section.key=value, for instance call.watchdog_s=2")
        values[_known(name.strip(), flag, sections, refused)] = Given(value.strip(), flag, is_text=True)
    return values


def names_of(sections: Sections) -> Iterator[str]:
    """Every setting, as `section.key`."""
    for section, cls in sections.items():
        yield from (f"{section}.{key}" for key in attrs.fields_dict(cls))


def _known(name: str, origin: str, sections: Sections, refused: Mapping[str, str]) -> str:
    """Return the name if there is such a setting; raises ConfigError with the nearest one."""
    if name in refused:
        raise ConfigError(f"{origin}: {name} is not set here; {refused[name]}")
    if name in names_of(sections):
        return name
    section, _, key = name.partition(".")
    if section not in sections:
        raise ConfigError(f"{origin}: {_no_section(section, sections)}")
    meant = _meant(section, key, sections)
    hint = f"did you mean {meant}?" if meant else _all_of(section, sections)
    raise ConfigError(f"{origin}: there is no setting {name}; {hint}")


def _all_of(section: str, sections: Sections) -> str:
    keys = list(attrs.fields_dict(sections[section]))
    if len(keys) > _LISTED_KEYS:
        return f"docs/settings.md lists the {len(keys)} settings of [{section}]"
    return f"[{section}] has: {', '.join(keys)}"


def _meant(section: str, key: str, sections: Sections) -> str | None:
    """Guess the setting: one of that very name in another section, or one of this section whose name looks alike.

    Only the keys are compared: with their section in front two that have nothing in common look alike.
    """
    if homes := [other for other, cls in sections.items() if key in attrs.fields_dict(cls)]:
        return f"{homes[0]}.{key}"
    close = get_close_matches(key, attrs.fields_dict(sections[section]), n=1)
    return f"{section}.{close[0]}" if close else None


def _meant_by_variable(bare: str, sections: Sections) -> str | None:
    """Guess the variable, both without their prefix."""
    section, _, key = bare.lower().partition("_")
    if section in sections:
        meant = _meant(section, key, sections)
        return meant and meant.replace(".", "_").upper()
    close = get_close_matches(bare, [name.replace(".", "_").upper() for name in names_of(sections)], n=1)
    return close[0] if close else None


def _no_section(section: str, sections: Sections) -> str:
    if homes := [name for name, cls in sections.items() if section in attrs.fields_dict(cls)]:
        return f"{section} belongs into a section: write it below [{homes[0]}]"
    close = get_close_matches(section, sections, n=1)
    hint = f"did you mean [{close[0]}]?" if close else f"there are: {', '.join(f'[{name}]' for name in sections)}"
    return f"there is no section [{section}]; {hint}"


# --- values ------------------------------------------------------------------------------------------------------------


def build(name: str, cls: type[Section], values: Values) -> Section:
    """Make the section `name` from what was given for it, and defaults. Raises ConfigError for the first value that is wrong."""
    types = get_type_hints(cls)
    kwargs: dict[str, Any] = {}
    for key in attrs.fields_dict(cls):
        given = values.get(f"{name}.{key}")
        if given is not None:
            kwargs[key] = _converted(f"{name}.{key}", given, types[key])
            try:
                cls(**{key: kwargs[key]})
            except ValueError as error:
                raise wrong(f"{name}.{key}", given, _validators_words(error)) from None
    return cls(**kwargs)


def wrong(name: str, given: Given, problem: str) -> ConfigError:
    """Make the error for a value: what it is, where it came from, and what it must be."""
    shown = repr(given.value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "..."
    return ConfigError(f"{name} = {shown} ({given.origin}): {problem}")


def _converted(name: str, given: Given, wanted: Any) -> object:
    value: object
    if _bare(wanted) is Path and isinstance(given.value, str):
        value = Path(given.value).expanduser()
    else:
        try:
            value = msgspec.convert(given.value, wanted, strict=not given.is_text)
        except msgspec.ValidationError:
            raise wrong(name, given, f"must be {_described(wanted)}") from None
    if isinstance(value, float) and math.isnan(value):
        raise wrong(name, given, "must be a number")
    return value


def _bare(wanted: Any) -> Any:
    """The type without its `| None`."""
    if get_origin(wanted) in (Union, UnionType):
        return next(each for each in get_args(wanted) if each is not NoneType)
    return wanted


def _described(wanted: Any) -> str:
    bare = _bare(wanted)
    if isinstance(bare, type) and issubclass(bare, Enum):
        return "one of " + ", ".join(repr(member.value) for member in bare)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return names.get(bare, str(bare))


def _validators_words(error: ValueError) -> str:
    """Turn attrs' "'port' must be <= 65535: 70000" into "must be <= 65535"."""
    text = str(error.args[0])
    match = re.fullmatch(r"'\w+' (must be .+): .*", text, re.DOTALL)
    return match[1] if match else text
