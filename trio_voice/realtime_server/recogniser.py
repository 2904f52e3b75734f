"""The server's side of the recogniser: start its process, ask it what a caller's turn said, end it.

Turns of all sessions stand in one queue. A worker that is lost costs the turn it was at (nothing was understood), and is replaced
a few times; after that nothing is understood any more, and the conversations go on without words.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from subprocess import PIPE
from typing import Any

import msgspec
import structlog
import trio
from attrs import define, field

from trio_voice.errors import UserError
from trio_voice.realtime_server.voice_process import WorkerLostError

MODULE = "trio_voice.realtime_server.recogniser_worker"
START_TIMEOUT_S = 20.0
TURN_TIMEOUT_S = 5.0
MOST_QUEUED = 256
LONGEST_TURN_BYTES = 60 * 16000
"""The last minute of a turn is enough for one phrase."""
_LOSSES = 3


@define(eq=False)
class _Turn:
    pcm16_8khz: bytes
    text: str = ""
    done: trio.Event = field(factory=trio.Event)


@define(eq=False)
class Recogniser:
    """Understands phrases; open it with `recognising`."""

    _queue: trio.MemorySendChannel[_Turn]
    log: Any = field(factory=lambda: structlog.get_logger("trio_voice.realtime_server"))

    async def recognise(self, pcm16_8khz: bytes) -> str:
        """Return the phrase that a turn said; nothing when it was none, or when nobody can tell."""
        turn = _Turn(pcm16_8khz[-LONGEST_TURN_BYTES:])
        try:
            self._queue.send_nowait(turn)
        except trio.WouldBlock:
            self.log.warning("too many turns wait for the recogniser", waiting=MOST_QUEUED)
            return ""
        await turn.done.wait()
        return turn.text


@asynccontextmanager
async def recognising(phrases: Sequence[str]) -> AsyncIterator[Recogniser]:
    """Run a recogniser for the length of the block. Raises UserError when it is not installed, or does not know a word."""
    queue_in, queue_out = trio.open_memory_channel[_Turn](MOST_QUEUED)
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve_turns, queue_out, phrases)
        yield Recogniser(queue_in)
        nursery.cancel_scope.cancel()


async def _serve_turns(
    queue: trio.MemoryReceiveChannel[_Turn], phrases: Sequence[str], task_status: trio.TaskStatus[None]
) -> None:
    log = structlog.get_logger("trio_voice.realtime_server")
    for attempt in range(_LOSSES):
        try:
            async with _worker(phrases) as worker:
                if not attempt:
                    task_status.started()
                async for turn in queue:
                    try:
                        turn.text = await worker.understand(turn.pcm16_8khz)
                    finally:
                        turn.done.set()
        except WorkerLostError as lost:
            if not attempt and not worker_has_started(lost):
                raise UserError(f"the recogniser cannot be started: {lost}") from None
            log.warning("the recogniser was lost", problem=str(lost))
    async for turn in queue:
        turn.done.set()


def worker_has_started(lost: WorkerLostError) -> bool:
    """Whether a worker was lost at work, not at its start."""
    return not isinstance(lost, WorkerNotStartedError)


class WorkerNotStartedError(WorkerLostError):
    """The worker did not come up."""


@define
class _Worker:
    _to_worker: trio.abc.SendStream
    _from_worker: trio.abc.ReceiveStream
    _unread: bytearray = field(factory=bytearray, init=False)

    async def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a line and return the answer. Raises WorkerLostError."""
        answer: Any = None
        with trio.move_on_after(timeout_s):
            try:
                await self._to_worker.send_all(msgspec.json.encode(request) + b"\n")
                answer = msgspec.json.decode(await self._line())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise WorkerLostError("the recogniser has ended") from None
            except msgspec.DecodeError:
                raise WorkerLostError("the recogniser said what makes no sense") from None
        if not isinstance(answer, dict):
            raise WorkerLostError(f"the recogniser did not answer within {timeout_s:g} s")
        return answer

    async def understand(self, pcm16_8khz: bytes) -> str:
        answer = await self.ask({"pcm16": base64.b64encode(pcm16_8khz).decode()}, TURN_TIMEOUT_S)
        return str(answer.get("text", ""))

    async def _line(self) -> bytes:
        while b"\n" not in self._unread:
            data = await self._from_worker.receive_some(65536)
            if not data:
                raise WorkerLostError("the recogniser has ended")
            self._unread += data
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread = bytearray(rest)
        return line


@asynccontextmanager
async def _worker(phrases: Sequence[str]) -> AsyncIterator[_Worker]:
    """Run a worker for the length of the block; the process is gone when it is left."""
    try:
        # In a session of its own: Ctrl-C is for the server, which then ends the worker.
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", MODULE], stdin=PIPE, stdout=PIPE, start_new_session=True
        )
    except OSError as error:
        raise WorkerNotStartedError(str(error)) from None
    assert process.stdin is not None
    assert process.stdout is not None
    worker = _Worker(process.stdin, process.stdout)
    try:
        try:
            ready = await worker.ask({"phrases": list(phrases)}, START_TIMEOUT_S)
        except WorkerLostError as lost:
            raise WorkerNotStartedError(str(lost)) from None
        if "problem" in ready:
            raise WorkerNotStartedError(str(ready["problem"]))
        yield worker
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process is soon gone
            await process.wait()
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)
