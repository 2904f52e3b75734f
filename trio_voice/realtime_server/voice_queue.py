"""The sentences that wait to be spoken, are being spoken, or were spoken not long ago: one queue for all sessions.

A sentence that is wanted twice in the same voice, tempo, language and format is spoken once: who comes later hears it from its
beginning, out of memory. What is remembered is bounded; the sentence that was longest not asked for goes first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import Enum

import trio
from attrs import define, field, frozen

from trio_voice.realtime_server.audio_formats import AudioFormat

_TRIES = 2


class SentenceState(Enum):
    """WAITING leads to each of the others; they are final."""

    WAITING = "in the queue, or being spoken"
    SPOKEN = "whole"
    ABANDONED = "nobody listens any more"
    FAILED = "cannot be spoken"


@frozen
class SentenceKey:
    """What makes two sentences the same sound."""

    text: str
    voice: str
    speed: float
    language: str
    audio_format: AudioFormat


@define(eq=False)
class Sentence:
    """One sentence and as much of its sound as there is."""

    key: SentenceKey
    pieces: list[bytes] = field(factory=list, init=False)  # in the format of the key
    state: SentenceState = field(default=SentenceState.WAITING, init=False)
    reason: str = field(default="", init=False)  # why it failed
    changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    listeners: int = field(default=0, init=False)
    _losses: int = field(default=0, init=False)  # workers that were lost over it
    _to_skip: int = field(default=0, init=False)  # bytes of this try that the one before has handed out

    def take(self, audio: bytes) -> bool:
        """Add a piece; whether more is wanted."""
        if self.state is not SentenceState.WAITING:
            return False
        skipped = min(self._to_skip, len(audio))
        self._to_skip -= skipped
        if skipped < len(audio):
            self.pieces.append(audio[skipped:])
            self.changed.unpark_all()
        return True

    def settle(self, state: SentenceState, reason: str = "") -> None:
        """Reach a final state and tell the listeners."""
        self.state, self.reason = state, reason
        self.changed.unpark_all()

    def try_again(self) -> bool:
        """Be ready for a new worker; False after the second loss (the sentence itself may be the cause)."""
        self._losses += 1
        self._to_skip = self.size_bytes
        return self._losses < _TRIES

    @property
    def size_bytes(self) -> int:
        """How much sound there is."""
        return sum(map(len, self.pieces))


@define(eq=False)
class SentenceQueue:
    """First asked, first spoken; but what somebody waits for goes before what is only wanted next.

    Bounded by its askers, who hold two sentences each.
    """

    cache_bytes: int
    _waiting: deque[Sentence] = field(factory=deque, init=False)
    _ahead: deque[Sentence] = field(factory=deque, init=False)
    _count: trio.Semaphore = field(factory=lambda: trio.Semaphore(0), init=False)
    _in_progress: dict[SentenceKey, Sentence] = field(factory=dict, init=False)
    _remembered: OrderedDict[SentenceKey, Sentence] = field(factory=OrderedDict, init=False)
    _remembered_bytes: int = field(default=0, init=False)

    @property
    def remembered_bytes(self) -> int:
        """How much sound is kept for who asks again."""
        return self._remembered_bytes

    def ask(self, key: SentenceKey, *, ahead: bool = False) -> Sentence:
        """Want a sentence now, or `ahead` of time; give it back with `leave`."""
        sentence = self._remembered.get(key)
        if sentence is not None:
            self._remembered.move_to_end(key)
        else:
            sentence = self._in_progress.get(key)
        if sentence is None:
            sentence = self._in_progress[key] = Sentence(key)
            (self._ahead if ahead else self._waiting).append(sentence)
            self._count.release()
        elif not ahead:
            self.hurry(sentence)
        sentence.listeners += 1
        return sentence

    def hurry(self, sentence: Sentence) -> None:
        """Somebody waits for it by now."""
        if sentence in self._ahead:
            self._ahead.remove(sentence)
            self._waiting.append(sentence)

    def leave(self, sentence: Sentence) -> None:
        """Want it no longer; when nobody does, it is given up."""
        sentence.listeners -= 1
        if not sentence.listeners and sentence.state is SentenceState.WAITING:
            del self._in_progress[sentence.key]
            sentence.settle(SentenceState.ABANDONED)

    async def next(self) -> Sentence:
        """Wait for the next sentence that somebody wants; the taker must `finish`, `refuse` or `lose` it."""
        while True:
            await self._count.acquire()
            sentence = (self._waiting or self._ahead).popleft()
            if sentence.state is SentenceState.WAITING:
                return sentence

    def finish(self, sentence: Sentence) -> None:
        """It has been spoken (or given up while it was)."""
        if sentence.state is not SentenceState.WAITING:
            return
        del self._in_progress[sentence.key]
        sentence.settle(SentenceState.SPOKEN)
        self._remember(sentence)

    def refuse(self, sentence: Sentence, reason: str) -> None:
        """It cannot be spoken."""
        if sentence.state is SentenceState.WAITING:
            del self._in_progress[sentence.key]
            sentence.settle(SentenceState.FAILED, reason)

    def lose(self, sentence: Sentence, reason: str) -> None:
        """Its worker was lost: it is next in the queue again, once."""
        if sentence.try_again():
            self._waiting.appendleft(sentence)
            self._count.release()
        else:
            self.refuse(sentence, reason)

    def close(self, reason: str) -> None:
        """Refuse what is in progress: nobody will speak it."""
        for sentence in list(self._in_progress.values()):
            self.refuse(sentence, reason)

    def _remember(self, sentence: Sentence) -> None:
        self._remembered[sentence.key] = sentence
        self._remembered_bytes += sentence.size_bytes
        while self._remembered_bytes > self.cache_bytes:
            _, oldest = self._remembered.popitem(last=False)
            self._remembered_bytes -= oldest.size_bytes
