"""The embedded server's voice: text in, audio of the wire's format out, while it is being spoken.

Sentences are the unit. A speech asks for its first two sentences, and for one more whenever one has been heard, so that it never
waits and never hoards. The sentences of all speeches stand in one queue (voice_queue.py), in which those that somebody waits for
go first, so that the speakers take turns. What nobody listens to any more is given up at once.

The engines are in a worker process (voice_worker.py says why), and what wants numpy with them. Tones, the voice of a machine that
has none, are made here, and numpy is imported for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Literal, Self

import structlog
import trio
from attrs import define, field, frozen
from attrs.validators import ge, gt, in_

from trio_voice.errors import LocalProtocolError, TrioVoiceError, how_to_install
from trio_voice.realtime_server.audio_formats import PCM, AudioFormat
from trio_voice.realtime_server.voice_names import VOICE_NAMES, voice_profile
from trio_voice.realtime_server.voice_process import VoiceProcess, WorkerLostError, voice_process
from trio_voice.realtime_server.voice_queue import Sentence, SentenceKey, SentenceQueue, SentenceState
from trio_voice.realtime_server.voice_text import sentences

__all__ = ["FASTEST", "SLOWEST", "VOICE_NAMES", "Speech", "VoiceFailedError", "VoicePool", "VoiceSettings"]

SLOWEST, FASTEST = 0.25, 1.5  # OpenAI Realtime API reference: session.audio.output.speed
_SENTENCES_AHEAD = 2
_LOSSES_IN_A_ROW = 5

_log = structlog.get_logger(__name__)


class VoiceFailedError(TrioVoiceError):
    """A sentence could not be spoken; the text says why."""


@frozen
class VoiceSettings:
    """Which engine speaks (`auto`: the best one installed), in how many processes, and how much of it is remembered."""

    engine: Literal["auto", "flite", "espeak-ng", "tones"] = field(
        default="auto", validator=in_(("auto", "flite", "espeak-ng", "tones"))
    )
    workers: int = field(default=1, validator=ge(1))
    cache_bytes: int = field(default=32 << 20, validator=ge(0))  # 32 MiB: 70 minutes in G.711, 11 in PCM
    silence_s: float = field(default=10.0, validator=gt(0.0))  # a worker that says nothing for so long is replaced


@define(eq=False)
class Speech:
    """One text being spoken: iterate once over its pieces (most of them of 50 to 400 ms)."""

    _queue: SentenceQueue
    _keys: Iterator[SentenceKey]
    _held: deque[Sentence] = field(factory=deque, init=False)
    _heard: int = field(default=0, init=False)  # pieces of the sentence at the front

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raises VoiceFailedError."""
        self._ask()
        while self._held:
            sentence = self._held[0]
            if self._heard < len(sentence.pieces):
                self._heard += 1
                await trio.lowlevel.checkpoint()
                return sentence.pieces[self._heard - 1]
            if sentence.state is SentenceState.FAILED:
                raise VoiceFailedError(sentence.reason)
            if sentence.state is SentenceState.WAITING:
                await sentence.changed.park()
            else:
                self._heard = 0
                self._queue.leave(self._held.popleft())
                if self._held:
                    self._queue.hurry(self._held[0])
                self._ask()
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration

    def _ask(self) -> None:
        while len(self._held) < _SENTENCES_AHEAD and (key := next(self._keys, None)) is not None:
            self._held.append(self._queue.ask(key, ahead=bool(self._held)))

    def give_up(self) -> None:
        """Want nothing more; what was only spoken for this speech is not spoken on."""
        self._keys = iter(())
        while self._held:
            self._queue.leave(self._held.pop())


@define(eq=False)
class VoicePool:
    """Who speaks for all sessions of a server: an async context manager, whose block no worker process outlives.

    It is a nursery: an exception of its block comes out inside an ExceptionGroup.
    """

    settings: VoiceSettings = field(factory=VoiceSettings)
    _open_worker: Callable[[str, float], AbstractAsyncContextManager[VoiceProcess]] = field(default=voice_process, kw_only=True)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _queue: SentenceQueue = field(init=False)
    _engines: list[str] = field(factory=list, init=False)
    _workers: dict[int, VoiceProcess] = field(factory=dict, init=False)  # by process number
    _slots: int = field(default=0, init=False)  # workers that are running or being replaced
    _spoken: int = field(default=0, init=False)  # sentences
    _settled: trio.Event = field(factory=trio.Event, init=False)  # it is known which engine speaks
    _lost_because: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._queue = SentenceQueue(self.settings.cache_bytes)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._running())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(await self._stack.__aexit__(kind, error, traceback))

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            if self.settings.engine == "tones":
                _tones()  # while nobody is served yet
                nursery.start_soon(self._speak_in_tones)
            else:
                for _ in range(self.settings.workers):
                    nursery.start_soon(self._keep_a_worker)
            try:
                await self._settled.wait()
                yield
            finally:
                self._queue.close("the voice has ended with its server")
                nursery.cancel_scope.cancel()

    @property
    def engine(self) -> str:
        """The engine that speaks English now: `flite`, `espeak-ng` or `tones`."""
        return self._engines[0] if self._engines else "tones"

    @property
    def worker_pids(self) -> list[int]:
        """The numbers of the worker processes that run now."""
        return list(self._workers)

    def describe(self) -> str:
        """Say in one sentence which engine speaks, and how to get a better one."""
        if self.engine == "flite":
            others = "espeak-ng speaks other languages" if "espeak-ng" in self._engines else "and nothing else"
            return f"flite speaks English, {others}; only a real model has a better voice"
        if self.engine == "espeak-ng":
            return "espeak-ng speaks; `apt install flite` gives an English voice that is far better understood"
        if self.settings.engine == "tones":
            return "tones stand for speech, as the settings ask"
        if self._lost_because:
            why = f"the voice does not run ({self._lost_because})"
        else:
            why = "no voice is installed" if self.settings.engine == "auto" else f"{self.settings.engine} is not installed"
        how = f"get a voice with `{how_to_install('espeakng-loader')}` (espeak-ng) or, for English, `apt install flite`"
        return f"{why}, so tones stand for speech; {how}"

    def speech(
        self, text: str, *, voice: str, speed: float = 1.0, language: str = "en-us", audio_format: AudioFormat = PCM
    ) -> AbstractAsyncContextManager[Speech]:
        """Speak `text` for the length of a block: `async with pool.speech(...) as pieces: async for audio in pieces: ...`.

        Leaving the block gives up what is not yet spoken. Raises LocalProtocolError for a voice that is not in `VOICE_NAMES` or
        a speed out of 0.25 to 1.5; the iteration raises VoiceFailedError when a sentence cannot be spoken.
        """
        voice_profile(voice)
        if not SLOWEST <= speed <= FASTEST:
            raise LocalProtocolError(f"a speed of {speed:g}: it must be from {SLOWEST} to {FASTEST}")
        keys = (SentenceKey(part, voice, speed, language, audio_format) for part in sentences(text))
        return _until_left(Speech(self._queue, keys))

    async def _keep_a_worker(self) -> None:
        """Keep one worker running and busy; the last one that is given up leaves the speaking to tones."""
        self._slots += 1
        losses = 0
        while losses < _LOSSES_IN_A_ROW:
            spoken = self._spoken
            try:
                await self._work()
                break
            except WorkerLostError as lost:
                losses = losses + 1 if self._spoken == spoken else 1
                self._lost_because = str(lost)
                _log.warning("voice_worker_lost", reason=str(lost), in_a_row=losses)
                await trio.sleep(0.05 * 2**losses)
        self._slots -= 1
        if not self._slots:
            with suppress(RuntimeError):  # the system gives no thread, and perhaps no process either: then calls wait for it
                await trio.to_thread.run_sync(_tones)  # beside the calls that may be in progress
            await self._speak_in_tones()

    async def _work(self) -> None:
        """Speak with a new worker until it is lost (WorkerLostError); return at once when it has no engine."""
        async with self._open_worker(self.settings.engine, self.settings.silence_s) as worker:
            if not worker.engines:
                return
            self._engines = worker.engines
            self._workers[worker.pid] = worker
            self._settled.set()
            try:
                while True:
                    await self._speak_one(worker, await self._queue.next())
            finally:
                del self._workers[worker.pid]

    async def _speak_one(self, worker: VoiceProcess, sentence: Sentence) -> None:
        key = sentence.key
        try:
            refused = await worker.speak(key.text, key.voice, key.speed, key.language, key.audio_format, sentence.take)
        except WorkerLostError as lost:
            self._queue.lose(sentence, str(lost))
            raise
        if refused is None:
            self._queue.finish(sentence)
        else:
            self._queue.refuse(sentence, refused)
        self._spoken += 1

    async def _speak_in_tones(self) -> None:
        self._engines = []
        self._settled.set()
        tones = _tones()
        while True:
            sentence = await self._queue.next()
            key = sentence.key
            for audio in tones(key.text, voice_profile(key.voice).tone_hz, key.speed, key.audio_format):
                if not sentence.take(audio):
                    break
                await trio.lowlevel.checkpoint()
            self._queue.finish(sentence)


def _tones() -> Callable[[str, float, float, AudioFormat], Iterator[bytes]]:
    """Import what speaks in tones."""
    from trio_voice.realtime_server.voice_tones import tones_in_format  # noqa: PLC0415 - numpy: 10 MB and 0.1 s

    return tones_in_format


@asynccontextmanager
async def _until_left(speech: Speech) -> AsyncIterator[Speech]:
    try:
        yield speech
    finally:
        speech.give_up()
