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
from binascii import a2b_base64
from pathlib import Path
from typing import Any

import msgspec
import trio

from bench.gathering import Gathering, send_at_once
from bench.stamps import age_ms, number, stamp
from trio_voice.realtime_server import connection, session
from trio_voice.realtime_server.events import Output, SendEvent
from trio_voice.realtime_server.script import read_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model

FRAME_BYTES = 160
SCRIPT = Path(__file__).parent / "talker.toml"
BEHIND_THE_CALLERS = 5
"""Of the processor's time: callers who are late spoil a run, a model that is late is one that thinks."""


class Seen:
    """What passed the door."""

    def __init__(self) -> None:
        self.gathering = Gathering()
        self.frames = 0
        self.up_ms: list[float] = []
        self.up_at_s: list[float] = []
        self.sent_bytes = 0
        self.callers: dict[int, int] = {}
        """Who calls in a session, by the session's identity; known when callers say it (see stamps.number)."""
        self.speech_started: list[tuple[int, float]] = []
        """The caller, and when its speech was told."""
        self.truncated: list[tuple[int, float, int]] = []
        """The caller, when its item was cut off, and at how many milliseconds."""

    def client_event(self, message: str | bytes, session: int) -> None:
        """A client event came in."""
        if isinstance(message, str) and "conversation.item.truncate" in message:
            event = msgspec.json.decode(message)
            self.truncated.append((self.callers.get(session, -1), self.gathering.arrived_ns / 1e9, event["audio_end_ms"]))
        if isinstance(message, str) and "input_audio_buffer.append" in message[:60]:
            begin = message.index('"audio":"') + 9
            audio = a2b_base64(message[begin : message.index('"', begin)])
            self.frames += len(audio) // FRAME_BYTES
            for at in range(0, len(audio), FRAME_BYTES):  # more than one, where they were merged
                self._frame(audio[at : at + FRAME_BYTES], session)

    def _frame(self, audio: bytes, session: int) -> None:
        age = age_ms(audio, self.gathering.arrived_ns)
        if age is not None:
            self.up_ms.append(age)
            self.up_at_s.append(self.gathering.arrived_ns / 1e9)
            if session not in self.callers:
                self.callers[session] = number(audio)

    def server_event(self, event: dict[str, Any], session: int) -> None:
        """A server event goes out."""
        if event["type"] == "input_audio_buffer.speech_started":
            self.speech_started.append((self.callers.get(session, -1), time.monotonic()))
        if event["type"] == "response.output_audio.delta":
            audio = event["delta"]
            assert isinstance(audio, bytes)
            self.sent_bytes += len(audio)
            event["delta"] = stamp(audio)


def put_a_stopwatch_at_the_door() -> Seen:
    """Have every session and connection of this process report to one `Seen`."""
    seen = Seen()
    receive, perform = session.Session.receive, connection.Connection._perform  # noqa: SLF001 - this is a measuring probe

    def stopped_receive(self: session.Session, message: str | bytes, now: float) -> list[Output]:
        seen.client_event(message, id(self))
        return receive(self, message, now)

    def stopped_perform(self: connection.Connection, output: Output) -> None:
        if isinstance(output, SendEvent):
            seen.server_event(output.event, id(self.session))
        perform(self, output)
        if isinstance(output, SendEvent):
            send_at_once(self)

    async def gathered_read(self: connection.Connection) -> None:
        await seen.gathering.read(self)

    setattr(session.Session, "receive", stopped_receive)  # noqa: B010 - a probe, which mypy need not believe in
    setattr(connection.Connection, "_perform", stopped_perform)  # noqa: B010 - as above
    setattr(connection.Connection, "_read", gathered_read)  # noqa: B010 - as above
    return seen


async def main() -> None:
    seen = put_a_stopwatch_at_the_door()
    async with trio.open_nursery() as nursery:
        settings = ModelServerSettings(port=0, script=read_script(SCRIPT), cheap=True)
        url = await nursery.start(lambda task_status: serve_model(settings, task_status=task_status))
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        nursery.start_soon(seen.gathering.run)
        gc.freeze()
        os.nice(BEHIND_THE_CALLERS)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()
    report: dict[str, Any] = {"frames": seen.frames, "up_ms": seen.up_ms, "up_at_s": seen.up_at_s, "sent_bytes": seen.sent_bytes}
    report |= {"speech_started": seen.speech_started, "truncated": seen.truncated}
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


if __name__ == "__main__":
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    trio.run(main)
