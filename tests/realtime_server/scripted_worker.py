"""A voice worker for tests: it speaks the real protocol over memory streams, and a script says how it behaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing
from attrs import define, field

from trio_voice.realtime_server.voice_process import VoiceProcess
from trio_voice.realtime_server.voice_protocol import Failed, Finished, MessageBuffer, Piece, Ready, Speak, Stop, pack

PIECE = 960


@define
class Behaviour:
    """One worker's: how many pieces a sentence has, when it dies, which words it refuses or hangs on."""

    engines: list[str] = field(factory=lambda: ["flite"])
    pieces: int = 3
    piece_s: float = 0.0
    dies_at_piece: int | None = None  # counted over all sentences
    dies_at_start: bool = False
    hangs_on: str = "\0"
    refuses: str = "\0"
    raw_answer: bytes = b""  # what it says instead of a piece


@define
class Workers:
    """Hands out workers that behave as listed (the last behaviour again and again) and keeps what they were asked."""

    behaviours: list[Behaviour]
    asked: list[Speak | Stop] = field(factory=list)
    opened: int = 0
    running: int = 0

    @asynccontextmanager
    async def open(self, engine: str, silence_s: float) -> AsyncIterator[VoiceProcess]:
        behaviour = self.behaviours[min(self.opened, len(self.behaviours) - 1)]
        self.opened += 1
        to_worker, worker_input = trio.testing.memory_stream_one_way_pair()
        worker_output, from_worker = trio.testing.memory_stream_one_way_pair()
        self.running += 1
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work, behaviour, worker_input, worker_output)
            worker = VoiceProcess(to_worker, from_worker, self.opened, silence_s)
            try:
                await worker.greet()
                yield worker
            except Exception as error:
                failure = error
            finally:
                self.running -= 1
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _work(
        self, behaviour: Behaviour, source: trio.testing.MemoryReceiveStream, sink: trio.testing.MemorySendStream
    ) -> None:
        if behaviour.dies_at_start:
            await sink.aclose()
            return
        await sink.send_all(pack(Ready(behaviour.engines)))
        jobs_in, jobs = trio.open_memory_channel[Speak](10)
        stopped: set[int] = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, source, jobs_in, stopped)
            pieces_left = behaviour.dies_at_piece
            async for job in jobs:
                if behaviour.hangs_on in job.text:
                    await trio.sleep_forever()
                if behaviour.refuses in job.text:
                    await sink.send_all(pack(Failed(job.job, "refused")))
                    continue
                for number in range(behaviour.pieces):
                    if pieces_left == 0:
                        await sink.aclose()
                        nursery.cancel_scope.cancel()
                        return
                    pieces_left = None if pieces_left is None else pieces_left - 1
                    await trio.sleep(behaviour.piece_s)
                    if job.job in stopped:
                        break
                    piece = Piece(job.job, bytes([ord(job.text[0]), number]) * (PIECE // 2))
                    await sink.send_all(behaviour.raw_answer or pack(piece))
                await sink.send_all(pack(Finished(job.job)))

    async def _read(
        self, source: trio.testing.MemoryReceiveStream, jobs: trio.MemorySendChannel[Speak], stopped: set[int]
    ) -> None:
        buffer = MessageBuffer()
        while data := await source.receive_some(4096):
            for message in buffer.feed(bytes(data)):
                assert isinstance(message, Speak | Stop)
                self.asked.append(message)
                if isinstance(message, Speak):
                    await jobs.send(message)
                else:
                    stopped.add(message.job)


def sound(letter: str, *pieces: int) -> bytes:
    """What a worker says for a sentence that begins with `letter`."""
    return b"".join(bytes([ord(letter), number]) * (PIECE // 2) for number in pieces)
