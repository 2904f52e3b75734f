"""The process that speaks: `python -m trio_voice.realtime_server.voice_worker`, started by the embedded server alone.

A process of its own, because the engines keep one voice for the whole process, because a crash of theirs must not end a call, and
because espeak-ng is GPL-3: it is loaded here and nowhere else. So is numpy, which levels and resamples: what leaves is in the
format of the session that asks. It speaks one sentence at a time, in the order asked; it ends when its input does, so it cannot
outlive the server. No threads: between two pieces of a sentence it looks whether a `Stop` has come.

It says what it can speak with as soon as the engines are loaded: numpy takes twice as long, and nobody waits for it who has not
asked for a sentence yet.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec

from attrs import define, field

from trio_voice.errors import RemoteProtocolError, how_to_install
from trio_voice.realtime_server.audio_formats import FORMATS, AudioFormat, Converter
from trio_voice.realtime_server.voice_flite import Flite
from trio_voice.realtime_server.voice_names import EngineError, voice_profile
from trio_voice.realtime_server.voice_protocol import Failed, Finished, MessageBuffer, Piece, Ready, Report, Speak, Stop, pack

if find_spec("espeakng_loader") is not None:  # the extra [voice]
    from trio_voice.realtime_server.voice_espeak import Espeak

_READ_BYTES = 65536


@define
class Engines:
    """What can speak on this machine."""

    flite: Flite | None
    espeak: Espeak | None

    @classmethod
    def load(cls, wanted: str) -> Engines:
        """Load the engine called `wanted`, or with `auto` all that are installed; why one is missing goes to standard error."""
        flite = espeak = None
        if wanted in {"auto", "flite"}:
            try:
                flite = Flite.load()
            except EngineError as error:
                _explain(wanted, str(error))
        if wanted in {"auto", "espeak-ng"}:
            if find_spec("espeakng_loader") is None:
                _explain(wanted, f"espeak-ng is not installed: {how_to_install('espeakng-loader')}")
            else:
                try:
                    espeak = Espeak.load()
                except EngineError as error:
                    _explain(wanted, str(error))
        return cls(flite, espeak)

    def names(self) -> list[str]:
        """The engines' names, preferred first."""
        return ["flite"] * (self.flite is not None) + ["espeak-ng"] * (self.espeak is not None)

    def speak(self, job: Speak, take: Callable[[bytes], bool]) -> str | None:
        """Speak one sentence, whose 24 kHz PCM16 `take` gets; why not, if an engine refused."""
        profile = voice_profile(job.voice)
        try:
            if self.flite is not None and Flite.can_speak(job.text, job.language):
                self.flite.speak(job.text, profile, job.speed, take)
            elif self.espeak is not None:
                self.espeak.speak(job.text, profile, job.speed, job.language, take)
            else:
                return f"flite does not speak {job.text!r} in {job.language!r}"
        except EngineError as error:
            return str(error)
        return None


def _explain(wanted: str, reason: str) -> None:
    if wanted != "auto":  # with auto a missing engine is no news: what speaks is told by Ready
        sys.stderr.write(f"voice worker: {reason}\n")


@define
class Worker:
    """The loop: requests from one file descriptor, reports to another."""

    _engines: Engines
    _input: int
    _output: int
    _buffer: MessageBuffer = field(factory=MessageBuffer, init=False)
    _jobs: list[Speak] = field(factory=list, init=False)
    _stopped: set[int] = field(factory=set, init=False)
    _open: bool = field(default=True, init=False)

    def run(self) -> None:
        """Speak until the input ends. A server that has gone ends it quietly."""
        try:
            self._report(Ready(self._engines.names()))
            _converters()
            while self._open:
                self._read()
                while self._jobs and self._open:
                    self._speak(self._jobs.pop(0))
        except BrokenPipeError:
            return

    def _speak(self, job: Speak) -> None:
        encoder = _converters()(FORMATS[job.audio_format])
        refused = None
        if job.job not in self._stopped:
            refused = self._engines.speak(job, lambda pcm16: self._hand_out(job.job, encoder.convert(pcm16)))
        self._stopped = {stopped for stopped in self._stopped if stopped > job.job}
        self._report(Finished(job.job) if refused is None else Failed(job.job, refused))

    def _hand_out(self, job: int, audio: bytes) -> bool:
        """Send one piece; whether more of the job is wanted."""
        if audio:
            self._report(Piece(job, audio))
        while self._open and select.select([self._input], [], [], 0)[0]:
            self._read()
        return self._open and job not in self._stopped

    def _read(self) -> None:
        data = os.read(self._input, _READ_BYTES)
        if not data:
            self._open = False
        for message in self._buffer.feed(data):
            if isinstance(message, Speak):
                self._jobs.append(message)
            elif isinstance(message, Stop):
                self._stopped.add(message.job)
            else:
                raise RemoteProtocolError(f"the server sent {type(message).__name__}")

    def _report(self, report: Report) -> None:
        view = memoryview(pack(report))
        while view:
            view = view[os.write(self._output, view) :]


def _converters() -> Callable[[AudioFormat], Converter]:
    """Import what makes a converter from the voice to a format."""
    from trio_voice.realtime_server.voice_encoding import from_voice  # noqa: PLC0415 - see above

    return from_voice


def main() -> None:
    """Speak what standard input asks for; `sys.argv[1]` is the engine wanted (`auto`, `flite`, `espeak-ng`)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # to a whole group of processes: the server has goodbyes to speak, and ends us then
    output = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not fall between the messages
    Worker(Engines.load(sys.argv[1]), 0, output).run()


if __name__ == "__main__":
    main()
