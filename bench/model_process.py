"""The embedded Realtime server in a process of its own, with a stopwatch at its door.

It stamps every piece of speech that leaves it and reads the stamps of the caller's frames that reach it. It has no voice and no
telephone's ear, but what `python -m trio_voice model --cheap` has, and lets the callers go first on the processor they share:
it must not be what limits a run. Prints its URL when it listens, and on SIGTERM one JSON line with what it saw.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from array import array
from binascii import a2b_base64
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
from attrs import define, field

from bench.gathering import Gathering
from bench.model_ear import ModelEar
from bench.stamps import STAMP_BYTES, age_ms, number, stamp
from trio_voice.realtime_server import connection
from trio_voice.realtime_server.events import Output, SendEvent
from trio_voice.realtime_server.script import read_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model

FRAME_BYTES = 160
SCRIPT = Path(__file__).parent / "talker.toml"
BEHIND_THE_CALLERS = 5
"""Of the processor's time: callers who are late spoil a run, a model that is late is one that thinks."""


@define(eq=False)
class Seen:
    """What passed the door. A moment is one of the monotonic clock."""

    frames: int = 0
    up_ms: array[float] = field(factory=partial(array, "d"))
    up_at_s: array[float] = field(factory=partial(array, "d"))
    sent_bytes: int = 0
    callers: dict[str, int] = field(factory=dict)
    """Who calls in a session, by the session's identity; known when callers say it (see stamps.number)."""
    speech_started: list[tuple[int, float]] = field(factory=list)
    """The caller, and when its speech was told."""
    truncated: list[tuple[int, float, int]] = field(factory=list)
    """The caller, when its item was cut off, and at how many milliseconds."""

    def client_event(self, message: str | bytes, arrived_ns: int, session: str) -> None:
        """A client event came in."""
        if isinstance(message, str) and "conversation.item.truncate" in message:
            event = msgspec.json.decode(message)
            self.truncated.append((self.callers.get(session, -1), arrived_ns / 1e9, event["audio_end_ms"]))
        if isinstance(message, str) and "input_audio_buffer.append" in message[:60]:
            begin = message.index('"audio":"') + 9
            self.audio(a2b_base64(message[begin : message.index('"', begin)]), arrived_ns, session)

    def audio(self, audio: bytes, arrived_ns: int, session: str) -> None:
        """Audio was appended."""
        self.frames += len(audio) // FRAME_BYTES
        for at in range(0, len(audio), FRAME_BYTES):  # more than one, where they were merged
            age = age_ms(audio[at : at + STAMP_BYTES], arrived_ns)
            if age is not None:
                self.up_ms.append(age)
                self.up_at_s.append(arrived_ns / 1e9)
                if session not in self.callers:
                    self.callers[session] = number(audio[at:])

    def server_event(self, event: dict[str, Any], session: str) -> None:
        """A server event goes out."""
        if event["type"] == "input_audio_buffer.speech_started":
            self.speech_started.append((self.callers.get(session, -1), time.monotonic()))
        if event["type"] == "response.output_audio.delta":
            audio = event["delta"]
            assert isinstance(audio, bytes)
            self.sent_bytes += len(audio)
            event["delta"] = stamp(audio)

    def report(self) -> bytes:
        """All of it, in one line of JSON."""
        report: dict[str, Any] = {"frames": self.frames, "up_ms": self.up_ms.tolist(), "up_at_s": self.up_at_s.tolist()}
        report |= {"sent_bytes": self.sent_bytes, "speech_started": self.speech_started, "truncated": self.truncated}
        return msgspec.json.encode(report)


def put_a_stopwatch_at_the_door(gathering: Gathering) -> Seen:
    """Have every connection of this process be read by the gathering, and report to one `Seen`."""
    seen = Seen()
    perform = connection.Connection._perform  # noqa: SLF001 - this is a measuring probe

    def stopped_perform(self: connection.Connection, output: Output) -> None:
        if isinstance(output, SendEvent):
            seen.server_event(output.event, self.session.id)
        perform(self, output)

    async def gathered_read(self: connection.Connection) -> None:
        stream, ear = self.socket.stream, ModelEar(self, seen)
        assert isinstance(stream, trio.SocketStream)
        first_bytes, self.socket.first_bytes = self.socket.first_bytes, b""
        if first_bytes:
            ear.take(first_bytes, time.monotonic_ns())
        with gathering.reading(stream, ear.take):
            await ear.over.wait()

    setattr(connection.Connection, "_perform", stopped_perform)  # noqa: B010 - a probe, which mypy need not believe in
    setattr(connection.Connection, "_read", gathered_read)  # noqa: B010 - as above
    return seen


async def main() -> None:
    gathering = Gathering()
    seen = put_a_stopwatch_at_the_door(gathering)
    async with trio.open_nursery() as nursery:
        settings = ModelServerSettings(port=0, script=read_script(SCRIPT), cheap=True)
        url = await nursery.start(lambda task_status: serve_model(settings, task_status=task_status))
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        nursery.start_soon(gathering.run)
        gc.freeze()
        os.nice(BEHIND_THE_CALLERS)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()
    sys.stdout.write(seen.report().decode() + "\n")


if __name__ == "__main__":
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    trio.run(main)
