"""The server's side of one voice worker: start it, ask it for a sentence, end it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from subprocess import PIPE

import trio
from attrs import define, field

from trio_voice.errors import RemoteProtocolError, TrioVoiceError
from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.voice_protocol import (
    Failed,
    Finished,
    MessageBuffer,
    Piece,
    Ready,
    Report,
    Request,
    Speak,
    Stop,
    pack,
)

MODULE = "trio_voice.realtime_server.voice_worker"
_RECEIVE_BYTES = 65536


class WorkerLostError(TrioVoiceError):
    """The worker ended, fell silent, or said what makes no sense; it is of no more use."""


@define
class VoiceProcess:
    """A running worker that has said what it can speak with."""

    _to_worker: trio.abc.SendStream
    _from_worker: trio.abc.ReceiveStream
    pid: int
    _silence_s: float
    engines: list[str] = field(factory=list, init=False)  # preferred first; empty: nothing is installed
    _buffer: MessageBuffer = field(factory=MessageBuffer, init=False)
    _reports: list[Report] = field(factory=list, init=False)
    _job: int = field(default=0, init=False)

    async def greet(self) -> None:
        """Wait until the worker is ready. Raises WorkerLostError."""
        ready = await self._next_report()
        if not isinstance(ready, Ready):
            raise WorkerLostError(f"the voice worker began with {type(ready).__name__}")
        self.engines = ready.engines

    async def speak(
        self, text: str, voice: str, speed: float, language: str, audio_format: AudioFormat, take: Callable[[bytes], bool]
    ) -> str | None:
        """Speak one sentence; `take` gets each piece, in that format, and returns False when nobody listens any more.

        Returns why not, if the engine refused. Raises WorkerLostError.
        """
        self._job += 1
        await self._send(Speak(self._job, text, voice, speed, language, audio_format.name))
        wanted = True
        while True:
            report = await self._next_report()
            if isinstance(report, Ready) or report.job != self._job:
                raise WorkerLostError(f"the voice worker sent {type(report).__name__} out of turn")
            if isinstance(report, Finished):
                return None
            if isinstance(report, Failed):
                return report.reason
            if wanted and not take(report.audio):
                wanted = False
                await self._send(Stop(self._job))

    async def _send(self, request: Request) -> None:
        with trio.move_on_after(self._silence_s):
            try:
                await self._to_worker.send_all(pack(request))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise WorkerLostError("the voice worker has ended") from None
            return
        raise WorkerLostError(f"the voice worker took nothing in for {self._silence_s:g} s")

    async def _next_report(self) -> Report:
        while not self._reports:
            data: bytes | bytearray | None = None
            with trio.move_on_after(self._silence_s):
                data = await self._from_worker.receive_some(_RECEIVE_BYTES)
            if data is None:
                raise WorkerLostError(f"the voice worker said nothing for {self._silence_s:g} s")
            if not data:
                raise WorkerLostError("the voice worker has ended")
            try:
                for message in self._buffer.feed(bytes(data)):
                    if not isinstance(message, (Ready, Piece, Finished, Failed)):
                        raise WorkerLostError(f"the voice worker sent {type(message).__name__}")
                    self._reports.append(message)
            except RemoteProtocolError as error:
                raise WorkerLostError(str(error)) from None
        return self._reports.pop(0)


@asynccontextmanager
async def voice_process(engine: str, silence_s: float = 10.0) -> AsyncIterator[VoiceProcess]:
    """Run a worker for the length of the block; `engine` is `auto`, `flite` or `espeak-ng`.

    A worker that says nothing for `silence_s` while it is asked for something is given up. Raises WorkerLostError when it does
    not start. The process is gone when the block is left, in whatever way.
    """
    command = [sys.executable, "-m", MODULE, engine]
    # In a session of its own: Ctrl-C is for the server, which then ends the worker.
    try:
        process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, start_new_session=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: Trio takes a thread for it, and the system gives none
        raise WorkerLostError(f"no voice worker can be started ({error})") from None
    assert process.stdin is not None
    assert process.stdout is not None
    worker = VoiceProcess(process.stdin, process.stdout, process.pid, silence_s)
    try:
        await worker.greet()
        yield worker
    except WorkerLostError as lost:
        with trio.move_on_after(1.0):
            await process.wait()
        if process.returncode is None:
            raise
        raise WorkerLostError(f"{lost}, status {process.returncode}") from None
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process is soon gone
            await process.wait()
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)
