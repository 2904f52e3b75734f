"""Which dialects there are, and the path of each: `/media/<name>`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from trio_voice.dialects.base import Dialect
from trio_voice.dialects.twilio import TwilioDialect

DIALECTS: Mapping[str, Callable[[], Dialect]] = MappingProxyType({TwilioDialect.name: TwilioDialect})
MEDIA_PATH = "/media/"


def dialect_named(name: str) -> Dialect | None:
    """Return a new codec, for one stream, of the dialect with this name; None if there is none."""
    new = DIALECTS.get(name)
    return None if new is None else new()


def dialect_at_path(path: str) -> Dialect | None:
    """Return a new codec, for one stream, of the dialect that answers at this request path; None if none does.

    A query is ignored: carriers strip it from the address of a stream, or refuse it.
    """
    path = path.partition("?")[0]
    return dialect_named(path.removeprefix(MEDIA_PATH)) if path.startswith(MEDIA_PATH) else None
