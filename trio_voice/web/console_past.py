"""Past calls, as the console shows them, read from the journals in the calls folder.

What one call was, in short (`CallDigest`), is kept in memory as long as its journal does not change. The disk is read in one
thread at a time, so that whoever searches takes nothing from the calls in progress but that one thread; each read is bounded.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import trio
from attrs import define, field

from trio_voice.errors import UserError
from trio_voice.storage.call_record import CallRecord, LatencyKind, Speaker
from trio_voice.storage.digest import read_record
from trio_voice.storage.journal import JOURNAL
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.meter import levels_of
from trio_voice.storage.replay import replay
from trio_voice.storage.threads import needing_a_thread
from trio_voice.web.past_calls import PastCallsFailedError

RECORDINGS = ("recording.wav", "call.wav")
"""The names of a call's recording, the best first."""
MOST_CALLS = 300
"""So many of the newest calls are listed and searched."""
READ_AT_ONCE_S = 1.0
"""One request reads journals that are not known yet for so long, and counts the others: ask again for those."""
MOST_LINES = 20_000
LOOK_EVERY_LINES = 1000
LARGEST_REPLAYED = 64 * 1024 * 1024
KEPT_CHARACTERS = 20_000
FIRST_CHARACTERS = 120
LEVELS_EVERY_S = 0.2
_CALL_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_FRAMES = ('"event":"CallerAudio"', '"event":"ModelAudio"', '"command":"AppendAudio"', '"command":"PlayAudio"')
_NAMED_WITHIN = 60
"""A line's name is in its first characters."""
MAY_GO_ON_S = 60.0
"""A journal without an end that was written to so lately may be that of a call in another process."""
_T = TypeVar("_T")


class CallDigest(msgspec.Struct, frozen=True, kw_only=True):
    """What a call was, in short."""

    call_id: str
    call_sid: str
    started_at: str
    """RFC 3339, UTC."""
    duration_s: float
    end_reason: str | None
    """None: the journal does not tell the call's end. It goes on, or the server was cut off."""
    turns: int
    """How many utterances of the caller there were."""
    barge_ins: int
    tools: int
    faults: int
    reply_ms: list[int]
    """From the end of each utterance to the first audio of the reply."""
    refusals: dict[str, int]
    """What the guards refused (barge-ins, responses), and how often, by reason."""
    first_words: str
    """The caller's, where something writes them down; else the agent's."""
    has_recording: bool
    in_progress: bool = False
    caller: str | None = None
    """The number that called, masked; null where it is not known, or no records are kept: a journal does not tell it."""
    outcome: str | None = None
    """How it ended, in a word (docs/records.md); null while it goes on."""


class PastList(msgspec.Struct, frozen=True):
    """The newest calls first."""

    calls: list[CallDigest]
    left_out: int
    """So many older ones are not looked at."""
    unread: int
    """So many were not read yet: the same question in a moment looks at some more of them."""


class CallStory(msgspec.Struct, frozen=True):
    """One call: its journal without the lines of single audio frames, and how loud both sides were."""

    digest: CallDigest
    lines: list[msgspec.Raw]
    left_out: int
    """So many lines at the end were too many."""
    levels_every_s: float
    levels: list[tuple[float | None, float | None]]
    """The caller's and the agent's, in dBFS; null: silent."""


class ReplayVerdict(msgspec.Struct, frozen=True):
    """What came of living the call again."""

    verdict: str
    """same, different, unknown, or unreadable."""
    events: int = 0
    timers: int = 0
    commands: int = 0
    ended: bool = False
    detail: str | None = None
    """Where then and now part, or why the journal cannot be read."""
    context: list[str] = []


def is_frame(line: str) -> bool:
    """Tell the lines of single audio frames, of which there are a hundred a second."""
    start = line[:_NAMED_WITHIN]
    return any(name in start for name in _FRAMES)


@define
class _Kept:
    """A digest, for as long as the journal is what it was."""

    stamp: tuple[int, int]
    digest: CallDigest
    words: str
    """All that is searched, in lower case."""


def _digest_of(call_id: str, record: CallRecord, stamp: tuple[int, int]) -> _Kept:
    """What the call in the folder of this name was, from its journal."""
    facts = record.facts
    started_at = facts.started_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    texts = [turn.text for turn in record.turns if turn.text]
    callers = (turn.text for turn in record.turns if turn.text and turn.speaker is Speaker.CALLER)
    digest = CallDigest(
        call_id=call_id,
        call_sid=facts.call_sid,
        started_at=started_at,
        duration_s=record.duration_s,
        end_reason=record.end_reason,
        turns=sum(turn.speaker is Speaker.CALLER for turn in record.turns),
        barge_ins=record.barge_ins,
        tools=len(record.tools),
        faults=record.faults,
        reply_ms=record.latencies_of(LatencyKind.FIRST_AUDIO),
        refusals=dict(record.refusals),
        first_words=next(callers, "".join(texts[:1]))[:FIRST_CHARACTERS],
        has_recording=False,
        outcome=record.outcome.value,
    )
    said = " ".join(texts)[:KEPT_CHARACTERS]
    outcome = record.outcome.value.replace("_", " ")
    return _Kept(stamp, digest, f"{said} {call_id} {facts.call_sid} {started_at} {outcome}".casefold())


Elsewhere = Callable[[CallDigest], Iterable[Path]]
"""Where a call's recording may be, besides its folder."""


@define(eq=False)
class PastCalls:
    """The calls folder, as the console sees it. Whatever is asked of it raises PastCallsFailedError when there is no thread."""

    folder: Path
    is_live: Callable[[str], bool] = lambda _call_id: False
    """Tells whether a call, by our id, is in progress."""
    elsewhere: Elsewhere = lambda _call: ()
    clock: Callable[[], float] = time.monotonic
    _thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _kept: OrderedDict[str, _Kept] = field(factory=OrderedDict, init=False)

    async def find(self, search: str = "", callers: Mapping[str, str | None] | None = None) -> PastList:
        """List the newest calls in whose words, ids, numbers or outcome all words of `search` are. `callers`: by our id."""
        return await self._read(self._find, search.casefold().split(), callers or {})

    async def look(self, call_id: str) -> CallStory | None:
        """Read one call; None: there is none."""
        return await self._read(self._look, call_id)

    async def recording(self, call_id: str) -> Path | None:
        """Where the call's recording is, if there is one."""
        return await self._read(self._recording, call_id)

    async def replay(self, call_id: str) -> ReplayVerdict | None:
        """Live the call again; None: there is none."""
        return await self._read(self._replay, call_id)

    async def _read(self, read: Callable[..., _T], *args: object) -> _T:
        try:
            with needing_a_thread():
                return await trio.to_thread.run_sync(partial(read, *args), limiter=self._thread)
        except OSError as error:  # there is no thread
            raise PastCallsFailedError(f"past calls cannot be read now ({error.strerror}); ask again") from None

    # --- in the thread

    def _find(self, words: list[str], callers: Mapping[str, str | None]) -> PastList:
        try:
            names = sorted((path.name for path in self.folder.iterdir() if _CALL_ID.fullmatch(path.name)), reverse=True)
        except OSError:
            names = []
        found, unread = list[CallDigest](), 0
        until = self.clock() + READ_AT_ONCE_S
        for name in names[:MOST_CALLS]:
            if name not in self._kept and self.clock() >= until:
                unread += 1
                continue
            kept = self._digest(name)
            if kept is None:
                continue
            caller, is_live = callers.get(name), self.is_live(name)
            if all(word in f"{kept.words} {caller or ''}" for word in words):
                found.append(msgspec.structs.replace(_while_live(kept.digest) if is_live else kept.digest, caller=caller))
        return PastList(found, max(0, len(names) - MOST_CALLS), unread)

    def _digest(self, call_id: str) -> _Kept | None:
        path = self._journal(call_id)
        try:
            facts = path.stat()
        except OSError:
            return None
        stamp = (facts.st_mtime_ns, facts.st_size)
        kept = self._kept.get(call_id)
        if kept is None or kept.stamp != stamp:
            try:
                record = read_record(_lines(path))
            except OSError:
                return None
            if record is None:
                return None
            kept = _digest_of(call_id, record, stamp)
            self._kept[call_id] = kept
            while len(self._kept) > 2 * MOST_CALLS:
                self._kept.popitem(last=False)
        digest = msgspec.structs.replace(kept.digest, has_recording=self._recording_of(kept.digest) is not None)
        if digest.end_reason is None and time.time() - facts.st_mtime < MAY_GO_ON_S:
            digest = msgspec.structs.replace(digest, outcome=None)
        return _Kept(stamp, digest, kept.words)

    def _look(self, call_id: str) -> CallStory | None:
        kept = self._digest(call_id) if _CALL_ID.fullmatch(call_id) else None
        if kept is None:
            return None
        lines, left_out = list[msgspec.Raw](), 0
        every_s = max(LEVELS_EVERY_S, kept.digest.duration_s / 3000)
        try:
            for line in _lines(self._journal(call_id)):
                if is_frame(line) or not _is_json(line):
                    continue
                if len(lines) < MOST_LINES:
                    lines.append(msgspec.Raw(line.encode()))
                else:
                    left_out += 1
            levels = levels_of(_lines(self._journal(call_id)), every_s)
        except OSError:
            return None
        digest = _while_live(kept.digest) if self.is_live(call_id) else kept.digest
        return CallStory(digest, lines, left_out, every_s, [(each.caller_dbfs, each.agent_dbfs) for each in levels])

    def _recording(self, call_id: str) -> Path | None:
        kept = self._digest(call_id) if _CALL_ID.fullmatch(call_id) else None
        return None if kept is None else self._recording_of(kept.digest)

    def _recording_of(self, call: CallDigest) -> Path | None:
        usual = (self.folder / call.call_id / name for name in RECORDINGS)
        return next((path for path in (*self.elsewhere(call), *usual) if path.is_file()), None)

    def _replay(self, call_id: str) -> ReplayVerdict | None:
        path = self._journal(call_id)
        if not _CALL_ID.fullmatch(call_id) or not path.is_file():
            return None
        try:
            if path.stat().st_size > LARGEST_REPLAYED:
                return ReplayVerdict("unreadable", detail=f"the journal is too large for this page; trio-voice replay {path}")
            done = replay(JournalReader(_lines(path)))
        except (UserError, OSError) as error:
            return ReplayVerdict("unreadable", detail=str(error))
        detail, context = None, list[str]()
        if (difference := done.difference) is not None:
            detail = f"line {difference.line}, {difference.t:.3f} s: then {difference.expected}, now {difference.got}"
            context = [line[:300] for line in difference.context]
        return ReplayVerdict(done.verdict.value, done.events, done.timers, done.commands, done.ended, detail, context)

    def _journal(self, call_id: str) -> Path:
        return self.folder / call_id / JOURNAL


def _while_live(digest: CallDigest) -> CallDigest:
    return msgspec.structs.replace(digest, in_progress=True, outcome=None)


def _lines(path: Path) -> Iterator[str]:
    """Read a journal, as long as somebody waits for it: who has gone, or a server that ends, is not held by a long one."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file):
            if number % LOOK_EVERY_LINES == 0:
                trio.from_thread.check_cancelled()
            yield line.rstrip("\n")


def _is_json(line: str) -> bool:
    """A last line may be cut off in the middle."""
    try:
        msgspec.json.decode(line, type=dict)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError):
        return False
    return True
