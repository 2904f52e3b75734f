"""Any event and any command, made from the classes themselves, so that a new class cannot be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

import attrs
from hypothesis import strategies as st

from trio_voice.core.commands import Command
from trio_voice.core.events import Event

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WHOLE = st.integers(0, 2**53)
SECONDS = st.floats(0, 1e5, allow_nan=False).map(lambda seconds: round(seconds, 6))
LEVELS = st.floats(-100, 0)
AUDIO = st.binary(max_size=400)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """What a field of this type may hold. Fails for a type that nobody thought of."""
    if isinstance(hint, UnionType):
        return st.one_of([st.none() if part is type(None) else values_of(part) for part in get_args(hint)])
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return {str: TEXT, int: WHOLE, float: LEVELS, bool: st.booleans(), bytes: AUDIO}[hint]


def instances_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{each.name: values_of(hints[each.name]) for each in attrs.fields(kind)})


def one_of(kinds: Mapping[str, type[Any]]) -> st.SearchStrategy[Any]:
    return st.one_of([instances_of(kind) for kind in kinds.values()])


def audio_of(value: Event | Command) -> bytes | None:
    """The audio that it carries, if its class has any."""
    return next((content for content in attrs.asdict(value, recurse=False).values() if isinstance(content, bytes)), None)


def with_audio(value: Any, audio: bytes) -> Any:
    name = next(name for name, content in attrs.asdict(value, recurse=False).items() if isinstance(content, bytes))
    return attrs.evolve(value, **{name: audio})
