"""What the caller has heard.

The model writes speech up to twelve times faster than it is heard, and the carrier plays it from a buffer that we cannot see.
Two things tell us where the caller is. The *marks*: names that we put behind pieces of audio and that the carrier sends back when
it has played so far. And the *clock*: between two marks the carrier plays in real time, so the position moves with the clock,
from the last echo on and never past the next mark that has not been echoed.

All positions are bytes on the *line* (integers add up exactly): one axis per generation, that begins with the first audio after a
clear. A generation ends with every clear, and its number is part of every mark's name, because carriers echo the marks that they
flush just as if they had been played: an echo of an old generation is a fact about the buffer, not about the caller's ear.

Audio that comes when the buffer has run dry begins a new *run*: it starts when it arrives, not when the last run ended. With a
carrier that has no marks the clock alone tells, and a deadline takes the place of the last echo.

A mark that is not echoed in time tells nothing but that this carrier loses marks: then the clock alone is believed, up to where
it stands.

A playback can be *held* (a barge-in that is not confirmed yet): the carrier's buffer is flushed, what was not heard is kept here,
and what the model still produces is added to it. Then it is either dropped, or resumed from where it was cut.

A model that never stops talking would fill any buffer: carriers discard what is more than ten minutes ahead. `overfull` says when
to stop it.
"""

from __future__ import annotations

from enum import Enum

from attrs import define, field, frozen

from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, SendMark
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ModelAudio
from trio_voice.core.settings import CallSettings

LEVEL_WINDOW_MS = 300
LONGEST_LINE_PIECES = 20_000


class Flow(Enum):
    """Whether audio goes to the carrier or is held back."""

    PLAYING = "playing"
    HELD = "held"


@frozen
class Cut:
    """An item that the caller did not hear to its end."""

    session: int
    response_id: str
    item_id: str
    heard_ms: int
    received_ms: int


@define
class _Item:
    """One item's places on the line: usually one span, more when a response's items stream side by side."""

    session: int
    response_id: str
    item_id: str
    spans: list[tuple[int, int]] = field(factory=list)
    ended: bool = False

    def extend(self, begin: int, end: int) -> None:
        if self.spans and self.spans[-1][1] == begin:
            begin = self.spans.pop()[0]
        self.spans.append((begin, end))

    @property
    def received(self) -> int:
        return sum(end - begin for begin, end in self.spans)

    def heard(self, position: int) -> int:
        return sum(min(end, position) - begin for begin, end in self.spans if begin < position)


@frozen
class _Piece:
    """Audio on the line, kept while it can still be resumed; its level is the echo guard's reference."""

    response_id: str
    item_id: str
    begin: int
    end: int
    level_dbfs: float | None
    audio: bytes | None


@define
class _Run:
    """Audio that is played without a gap, from `start_at` (seconds on the call's clock) on."""

    begin: int
    end: int
    start_at: float


@frozen
class _Mark:
    name: str
    at: int


@define
class Playback:
    """The ledger of one call's playback. `marks`: the carrier echoes marks; `bytes_per_ms` is 8 for G.711."""

    settings: CallSettings
    deadlines: Deadlines
    marks: bool = True
    bytes_per_ms: int = 8
    flow: Flow = field(default=Flow.PLAYING, init=False)
    _generation: int = field(default=1, init=False)
    _mark_count: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)
    _confirmed: int = field(default=0, init=False)
    _marked: int = field(default=0, init=False)
    _items: list[_Item] = field(factory=list, init=False)
    _runs: list[_Run] = field(factory=list, init=False)
    _pieces: list[_Piece] = field(factory=list, init=False)
    _pending: list[_Mark] = field(factory=list, init=False)

    # --- questions

    @property
    def speaking(self) -> bool:
        """Something was sent that the caller has not been confirmed to have heard, or something is held."""
        return self._confirmed < self._total or self.flow is Flow.HELD

    @property
    def overfull(self) -> bool:
        """More is ahead of the caller's ear than anybody would listen to."""
        ahead = self._total - self._confirmed
        limit = self.settings.unheard_limit_s * 1000 * self.bytes_per_ms
        return ahead > limit or len(self._pieces) > LONGEST_LINE_PIECES

    def heard_ms(self, item_id: str, now: float) -> int:
        """How much of an item the caller has heard; 0 for an item that is not on the line."""
        item = self._item(item_id)
        return item.heard(self._position(now)) // self.bytes_per_ms if item else 0

    def expected_end(self, now: float) -> float:
        """When all that was sent will have been heard, in seconds on the call's clock."""
        return max(now, self._end_at(self._runs[-1])) if self._runs else now

    def rest_s(self, now: float) -> float:
        """How long what was sent will still be heard, in seconds, to the microsecond."""
        return round(self.expected_end(now) - now, 6)

    def level_dbfs(self, now: float) -> float | None:
        """The loudest of what the caller heard in the last 300 ms; None when nothing played."""
        position = self._position(now)
        self._forget_before(position)
        loudest: float | None = None
        for piece in self._pieces:
            if piece.begin >= position:
                break
            level_dbfs = piece.level_dbfs
            if level_dbfs is not None and (loudest is None or level_dbfs > loudest):
                loudest = level_dbfs
        return loudest

    def has_audio_of(self, response_id: str) -> bool:
        """Something of this response is on the line (or was, until the caller had heard all of it and more)."""
        return any(item.response_id == response_id for item in self._items)

    # --- what is to be heard

    def play(self, event: ModelAudio, now: float) -> list[Command]:
        """Put audio on the line; marks follow it at the set distance."""
        response_id, item_id, audio, level_dbfs = event.response_id, event.item_id, event.audio, event.level_dbfs
        if not audio:
            return []
        item = self._item(item_id)
        if item is None:
            item = _Item(event.session, response_id, item_id)
            self._items.append(item)
        out: list[Command] = []
        step = 2 * self.settings.mark_every_ms * self.bytes_per_ms
        for at in range(0, len(audio), step):
            piece = audio[at : at + step]
            item.extend(self._total, self._total + len(piece))
            if self.flow is Flow.HELD:
                self._keep(response_id, item_id, piece, level_dbfs)
            else:
                out += self._send(response_id, item_id, piece, level_dbfs, now)
        return out

    def end_item(self, item_id: str, now: float) -> list[Command]:
        """No more audio of this item comes: a last mark says when it has been heard."""
        item = self._item(item_id)
        if item is None or item.ended:
            return []
        item.ended = True
        return self._mark(now)

    def end_response(self, response_id: str | None, now: float) -> list[Command]:
        """No more audio of this response comes; None: of no response."""
        open_items = [item.item_id for item in self._items if response_id is None or item.response_id == response_id]
        return [command for item_id in open_items for command in self.end_item(item_id, now)]

    # --- what was heard

    def marked(self, name: str, now: float) -> bool:
        """The carrier echoed a mark. Tells whether it was of this generation, that is: heard, not flushed."""
        mark = next((mark for mark in self._pending if mark.name == name), None)
        if mark is None:
            return False
        while self._pending and self._pending[0].at <= mark.at:
            self._pending.pop(0)
        self._hear_until(mark.at, now)
        self._arm(now)
        return True

    def clock_passed(self, now: float) -> None:
        """No echo comes, or none came: what should have been heard by now has been heard."""
        position = max(self._clock_position(now), self._pending[0].at if self._pending else 0)
        while self._pending and self._pending[0].at <= position:
            self._pending.pop(0)
        self._confirm(position)
        self._arm(now)

    # --- what is not to be heard

    def cuts(self, now: float) -> list[Cut]:
        """The items that a clear at this moment would cut, in the order of playback."""
        position = self._position(now)
        return [
            Cut(
                item.session,
                item.response_id,
                item.item_id,
                item.heard(position) // self.bytes_per_ms,
                item.received // self.bytes_per_ms,
            )
            for item in self._items
            if not item.ended or item.heard(position) < item.received
        ]

    def clear(self, now: float) -> tuple[list[Command], list[Cut]]:
        """Flush everything; the commands for it (none when nothing is on the line) and what was cut."""
        cuts = self.cuts(now)
        out: list[Command] = [ClearPlayback()] if self.speaking and self.flow is Flow.PLAYING else []
        self._new_generation()
        self._items.clear()
        self._pieces.clear()
        self._total = self._confirmed = self._marked = 0
        self.flow = Flow.PLAYING
        return out, cuts

    def hold(self, now: float) -> list[Command]:
        """Silence the line, but keep what was not heard."""
        self._hear_until(self._position(now), now)
        self._new_generation()
        self.flow = Flow.HELD
        return [ClearPlayback()]

    def resume(self, now: float) -> list[Command]:
        """Go on from where `hold` cut."""
        self.flow = Flow.PLAYING
        kept, self._pieces = self._pieces, []
        self._total = self._marked = self._confirmed
        out: list[Command] = []
        for piece in kept:
            if piece.end > self._confirmed and piece.audio is not None:
                unheard = piece.audio[max(0, self._confirmed - piece.begin) :]
                out += self._send(piece.response_id, piece.item_id, unheard, piece.level_dbfs, now)
        if all(item.ended for item in self._items):
            out += self._mark(now)
        return out

    # --- inside

    def _item(self, item_id: str) -> _Item | None:
        return next((item for item in self._items if item.item_id == item_id), None)

    def _position(self, now: float) -> int:
        """How far on the line the caller has heard: by the clock, but not past a mark that has not been echoed."""
        position = self._clock_position(now)
        return min(position, self._pending[0].at) if self._pending else position

    def _clock_position(self, now: float) -> int:
        position = self._confirmed
        for run in self._runs:
            if now <= run.start_at:
                break
            played = int((now - run.start_at) * 1000 * self.bytes_per_ms + 1e-6)
            position = max(position, min(run.end, run.begin + played))
        return position

    def _end_at(self, run: _Run) -> float:
        return run.start_at + (run.end - run.begin) / (1000 * self.bytes_per_ms)

    def _send(self, response_id: str, item_id: str, audio: bytes, level_dbfs: float | None, now: float) -> list[Command]:
        begin = self._total
        self._keep(response_id, item_id, audio, level_dbfs)
        if self._runs and self._end_at(self._runs[-1]) >= now:
            self._runs[-1].end = self._total
        else:
            self._runs.append(_Run(begin, self._total, now))
        out: list[Command] = [PlayAudio(response_id, item_id, audio)]
        if self._total - self._marked >= self.settings.mark_every_ms * self.bytes_per_ms:
            out += self._mark(now)
        elif not self.marks:
            self._arm(now)
        return out

    def _keep(self, response_id: str, item_id: str, audio: bytes, level_dbfs: float | None) -> None:
        begin, self._total = self._total, self._total + len(audio)
        kept = audio if self.settings.barge_in_confirm_ms else None  # otherwise nothing is ever resumed
        self._pieces.append(_Piece(response_id, item_id, begin, self._total, level_dbfs, kept))

    def _mark(self, now: float) -> list[Command]:
        if self.flow is Flow.HELD or self._total <= self._marked:
            return []
        self._marked = self._total
        if not self.marks:
            self._arm(now)
            return []
        self._mark_count += 1
        mark = _Mark(f"{self._generation}.{self._mark_count}", self._total)
        self._pending.append(mark)
        if len(self._pending) == 1:
            self._arm(now)
        return [SendMark(mark.name)]

    def _hear_until(self, position: int, now: float) -> None:
        """The caller has heard exactly so far at this moment: what follows is dated from here."""
        self._confirm(position)
        start_at = now
        for run in self._runs:
            if run.begin < self._confirmed:
                run.begin, run.start_at = self._confirmed, now
            else:
                run.start_at = max(run.start_at, start_at)
            start_at = self._end_at(run)

    def _confirm(self, position: int) -> None:
        """The caller has heard at least so far: forget what nobody will ask about any more."""
        self._confirmed = max(self._confirmed, position)
        while self._runs and self._runs[0].end <= self._confirmed:
            del self._runs[0]
        self._forget_before(self._confirmed)
        while len(self._items) > 1 and self._items[0].ended and self._items[0].spans[-1][1] <= self._confirmed:
            del self._items[0]

    def _forget_before(self, position: int) -> None:
        """Positions never go back within a generation: what is so far behind is neither resumed nor the echo's reference."""
        since = position - LEVEL_WINDOW_MS * self.bytes_per_ms
        gone = 0
        for piece in self._pieces:
            if piece.end > since:
                break
            gone += 1
        del self._pieces[:gone]

    def _new_generation(self) -> None:
        self._generation += 1
        self._pending.clear()
        self._runs.clear()
        self.deadlines.cancel(Timer.MARK, Timer.PLAYBACK_END)

    def _arm(self, now: float) -> None:
        """Set the deadline of the next confirmation: the first pending mark's, or, without marks, the end of the last run."""
        timer = Timer.MARK if self.marks else Timer.PLAYBACK_END
        if self.marks and self._pending:
            self.deadlines.set(timer, self._heard_at(self._pending[0].at, now) + self.settings.mark_grace_s)
        elif not self.marks and self._runs:
            self.deadlines.set(timer, self._end_at(self._runs[-1]))
        else:
            self.deadlines.cancel(timer)

    def _heard_at(self, position: int, now: float) -> float:
        for run in self._runs:
            if position <= run.end:
                return max(now, run.start_at + (position - run.begin) / (1000 * self.bytes_per_ms))
        return now
