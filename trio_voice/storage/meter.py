"""How loud both sides of a call are, read from its journal's lines. Pure: lines in, levels out.

The caller's level is that of the latest frame that was measured. The agent's is that of what the caller is hearing: the model's
audio comes faster than it is played, so each piece is put where it will be heard, and a clear takes away what was not heard yet.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from attrs import define, field, frozen

BYTES_PER_S = 8000
CALLER_HOLDS_S = 0.3
"""A level that is older says nothing about now: the caller's stream has stopped."""

MOST_LEVELS = 10_000
UNMEASURED_DBFS = -25.0
"""What is played and did not come from a model (the tone of a recording, say) was not measured: it is shown as loud as this."""


class _Size(msgspec.Struct):
    bytes: int = 0


class _Line(msgspec.Struct):
    """What of a line matters here."""

    t: float = 0.0
    event: str = ""
    command: str = ""
    level_dbfs: float | None = None
    audio: _Size | None = None


@frozen
class Levels:
    """Both sides in dBFS; None: silent, or not known."""

    caller_dbfs: float | None = None
    agent_dbfs: float | None = None


@frozen
class _Piece:
    """Audio of the agent, heard from `begin_s` to `end_s`."""

    begin_s: float
    end_s: float
    level_dbfs: float | None


@define
class Meter:
    """One call's levels: `take` its lines in order, ask for the `levels` at a moment that is not before the last line's."""

    _decode: msgspec.json.Decoder[_Line] = field(factory=lambda: msgspec.json.Decoder(_Line), init=False)
    _caller_dbfs: float | None = field(default=None, init=False)
    _caller_at_s: float = field(default=0.0, init=False)
    _model_dbfs: float | None = field(default=None, init=False)
    _pieces: list[_Piece] = field(factory=list, init=False)

    def take(self, line: str) -> None:
        """Take a line; one that cannot be read is passed over."""
        try:
            facts = self._decode.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return
        if facts.event == "CallerAudio":
            if facts.level_dbfs is not None:
                self._caller_dbfs, self._caller_at_s = facts.level_dbfs, facts.t
        elif facts.event == "ModelAudio":
            self._model_dbfs = facts.level_dbfs
        elif facts.command == "PlayAudio" and facts.audio is not None:
            begin_s = max(facts.t, self._pieces[-1].end_s if self._pieces else 0.0)
            level_dbfs = UNMEASURED_DBFS if self._model_dbfs is None else self._model_dbfs
            self._pieces.append(_Piece(begin_s, begin_s + facts.audio.bytes / BYTES_PER_S, level_dbfs))
        elif facts.command == "ClearPlayback":
            self._pieces.clear()

    def levels(self, now_s: float) -> Levels:
        """How loud both are at `now_s`, in seconds since the call began."""
        while self._pieces and self._pieces[0].end_s <= now_s:
            self._pieces.pop(0)
        hears = self._pieces and self._pieces[0].begin_s <= now_s
        is_fresh = now_s <= self._caller_at_s + CALLER_HOLDS_S
        return Levels(self._caller_dbfs if is_fresh else None, self._pieces[0].level_dbfs if hears else None)


def levels_of(lines: Iterable[str], every_s: float) -> list[Levels]:
    """The levels of a whole call, one every `every_s` seconds, each of them as it was at the end of its time.

    There are MOST_LEVELS at most: a line beyond them, whose time is damaged perhaps, is passed over.
    """
    meter, found = Meter(), list[Levels]()
    for line in lines:
        now_s = _moment_of(line)
        if now_s is None or now_s / every_s > MOST_LEVELS:
            continue
        while (len(found) + 1) * every_s <= now_s:
            found.append(meter.levels((len(found) + 1) * every_s))
        meter.take(line)
    return found


def _moment_of(line: str) -> float | None:
    """A line's time, without reading all of it: this is asked of every frame of a call."""
    if not line.startswith('{"t":'):
        return None
    try:
        return float(line[5 : line.index(",", 5)])
    except ValueError:
        return None
