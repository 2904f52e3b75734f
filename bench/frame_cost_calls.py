"""Calls whose frames come when they are told to, and a stopwatch in the server's poller: a process of `bench.frame_cost`.

The server is the real one, with all that is on by default, but that it asks no model for a sign of life. The far ends of its
connections, a carrier's and a model's for each call, are in this process too. Between two parts of its work it writes an empty
line and waits for one, so that two such processes work in turn; at the end it writes a line of JSON.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import statistics
import sys
import time
from binascii import b2a_base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from cProfile import Profile
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from bench.load import FRAME_BYTES, upgraded
from bench.processes import free_port, pin, wait_until_listening
from trio_voice.cli import NEW_OBJECTS
from trio_voice.config import load_settings
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.events import EventSink, SendEvent
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.serve import leave_alone_what_is_there, run_server
from trio_voice.server import poller, wire
from trio_voice.server.frames import FrameEncoder
from trio_voice.server.poller import MORE, Poller, Want
from trio_voice.server.websocket import ConnectFailed, SocketClosed, answer_websocket

PROCESSOR = 1
ROUND_LIMIT_S, WHOLE_LIMIT_S = 10.0, 120.0
ROUNDS_A_TURN = 10
GATHERED_FRAMES = 10
"""So many come to fifty calls in the four milliseconds for which a server gathers frames."""
COUNTED_ROUNDS = 2
"""Functions are counted in so many."""
QUIET = bytes(0xF8 | at * 7 % 8 for at in range(8000))
"""About -55 dBFS: a caller who listens."""
SPEECH = bytes(0x80 * (at // 60 % 2) + at % 60 for at in range(2000))
"""A quarter of a second, loud."""
_from_carrier, _from_model = FrameEncoder(masked=True).message, FrameEncoder(masked=False).message


@define(eq=False)
class Stopwatch:
    """What each function that the poller called has taken, in nanoseconds of the thread's processor time, in their order."""

    taken_ns: list[int] = field(factory=list, init=False)
    around_ns: int = field(default=0, init=False)
    """What was spent besides, while they were waited for."""
    profile: Profile | None = field(default=None, init=False)
    """Counts what they call; then the times mean nothing."""
    watched: dict[bool, dict[int, Callable[[], Want]]] = field(factory=lambda: {True: {}, False: {}}, init=False)
    """What serves the callers' sockets, which can wait, and the models'."""
    _awaited: int = field(default=0, init=False)
    _come: trio.Event = field(factory=trio.Event, init=False)

    def time(self, readable: Callable[[], Want]) -> Want:
        """Call a function of the poller's."""
        began = time.thread_time_ns()
        wanted = readable() if self.profile is None else self.profile.runcall(readable)
        self.taken_ns.append(time.thread_time_ns() - began)
        if len(self.taken_ns) == self._awaited:
            self._come.set()
        return wanted

    def expect(self, count: int) -> None:
        """Begin anew; `wait` waits for so many."""
        self.taken_ns, self._awaited, self._come = [], count, trio.Event()

    async def wait(self) -> None:
        """Wait for what is expected."""
        began = time.thread_time_ns()
        with trio.fail_after(ROUND_LIMIT_S):
            await self._come.wait()
        self.around_ns = time.thread_time_ns() - began - sum(self.taken_ns)


@define(eq=False)
class TimedPoller(Poller):
    """The server's poller, with a stopwatch."""

    stopwatch: Stopwatch = field(kw_only=True)

    async def watch(self, fileno: int, readable: Callable[[], Want], *, patient: bool = False) -> None:
        """Watch a socket, as any poller, and let it be served by others, too."""
        timed, watched = partial(self.stopwatch.time, readable), self.stopwatch.watched[patient]
        watched[fileno] = partial(trio.lowlevel.current_task().context.run, timed)
        try:
            await super().watch(fileno, timed, patient=patient)
        finally:
            del watched[fileno]


@define(eq=False)
class FarEnds:
    """A call as it is seen from outside: its carrier's connection, and its model's."""

    number: int
    carrier: trio.SocketStream
    model: trio.SocketStream
    metadata: dict[str, Any]
    """Of the reply that is asked for."""
    frames: int = field(default=0, init=False)
    pieces: int = field(default=0, init=False)
    _sink: EventSink = field(init=False)
    _place: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        ids = Identifiers(Random(self.number))
        self._sink = EventSink(ids, Behaviour())
        self._place = {"response_id": ids.new("resp"), "item_id": ids.new("item"), "output_index": 0, "content_index": 0}

    def speak(self) -> None:
        """Send the caller's next frame."""
        begin = self.frames * FRAME_BYTES % len(QUIET)
        payload = b2a_base64(QUIET[begin : begin + FRAME_BYTES], newline=False).decode()
        count = self.frames = self.frames + 1
        media = {"track": "inbound", "chunk": str(count), "timestamp": str(count * 20 - 20), "payload": payload}
        _send(self.carrier, carrier_message("media", self.number, count + 1, media=media))

    def begin_reply(self) -> None:
        """Send what a model says before the first sound."""
        response = {"id": self._place["response_id"], "status": "in_progress", "metadata": self.metadata}
        self._sink.send("response.created", response=response)
        item = {"id": self._place["item_id"], "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        self._sink.send("response.output_item.added", response_id=response["id"], output_index=0, item=item)
        self._send_packet()

    def reply(self, words: str = "") -> None:
        """Send the next piece of the reply, and what it says."""
        self.pieces += 1
        self._sink.send("response.output_audio.delta", **self._place, delta=SPEECH)
        if words:
            self._sink.send_text_delta("response.output_audio_transcript.delta", **self._place, delta=words)
        self._send_packet()

    def end_reply(self) -> None:
        """Send what a model says after the last sound."""
        self._sink.send("response.output_audio.done", **self._place)
        self._sink.send("response.done", response={"id": self._place["response_id"], "status": "completed"})
        self._send_packet()

    def _send_packet(self) -> None:
        events = [output.event for output in self._sink.drain() if isinstance(output, SendEvent)]
        _send(self.model, b"".join(_from_model(msgspec.json.encode(event).decode()) for event in events))

    def hang_up(self) -> None:
        """Send the caller's goodbye."""
        _send(self.carrier, carrier_message("stop", self.number, self.frames + 2))

    def read_all(self) -> None:
        """Take what has come, for the caller and for the model."""
        for stream in (self.carrier, self.model):
            with suppress(BlockingIOError):
                os.read(stream.socket.fileno(), 1 << 20)


def carrier_message(event: str, call: int, number: int, **more: Any) -> bytes:
    """A message of a call's carrier, in its frame."""
    message = {"event": event, "sequenceNumber": str(number), "streamSid": f"MZ{call:032x}", **more}
    return _from_carrier(msgspec.json.encode(message).decode())


def _send(stream: trio.SocketStream, data: bytes) -> None:
    if os.write(stream.socket.fileno(), data) != len(data):
        raise RuntimeError("a connection takes no more: the server does not read")


_Session = tuple[trio.SocketStream, dict[str, Any]]
"""A model's connection, and the metadata of the reply that it is asked for."""


@asynccontextmanager
async def calls(count: int, folder: Path, stopwatch: Stopwatch) -> AsyncIterator[list[FarEnds]]:
    """Hold so many calls for the time of the block, with the agent asked to greet. Then their journals are complete."""
    tell, sessions = trio.open_memory_channel[_Session](0)
    end, signals = trio.open_memory_channel[int](0)
    over = trio.Event()
    async with trio.open_nursery() as models:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        models.start_soon(trio.serve_listeners, partial(_be_a_model, tell, over), [listener])
        port, model_port = free_port(), listener.socket.getsockname()[1]
        assignments = [f"server.port={port}", f"server.calls_folder={folder}", f"model.url=ws://127.0.0.1:{model_port}/v1"]
        settings = load_settings(environ={}, assignments=[*assignments, "model.ping_every_s=0"], folder=folder)
        serve = partial(run_server, settings, say=lambda _: None, signals=signals, settled=leave_alone_what_is_there)
        with patch.object(poller, "Poller", partial(TimedPoller, stopwatch=stopwatch)):
            async with trio.open_nursery() as server:
                server.start_soon(serve)
                await wait_until_listening(port)
                far_ends = [await _call(number, port, sessions) for number in range(count)]
                yield far_ends
                over.set()
                for each in far_ends:
                    each.hang_up()
                    await each.carrier.aclose()
                await end.send(signal.SIGTERM)
        models.cancel_scope.cancel()


async def _be_a_model(tell: trio.MemorySendChannel[_Session], over: trio.Event, stream: trio.SocketStream) -> None:
    """Agree on a session and wait until a greeting is asked for; who is told of it has the connection until all is over."""
    with suppress(ConnectFailed, SocketClosed):  # the server only looks whether there is a model; the call has ended
        async with answer_websocket(stream) as upgrade:
            socket = await upgrade.accept()
            await socket.send('{"type":"session.created","event_id":"event_1","session":{}}')
            update = msgspec.json.decode(await socket.receive())
            updated = {"type": "session.updated", "event_id": "event_2", "session": update["session"]}
            await socket.send(msgspec.json.encode(updated).decode())
            await tell.send((stream, msgspec.json.decode(await socket.receive())["response"]["metadata"]))
            await over.wait()
            while True:
                await socket.receive()


async def _call(number: int, port: int, sessions: trio.MemoryReceiveChannel[_Session]) -> FarEnds:
    carrier = await trio.open_tcp_stream("127.0.0.1", port)
    await upgraded(carrier)
    media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    start = {"accountSid": f"AC{0:032x}", "callSid": f"CA{number:032x}", "streamSid": f"MZ{number:032x}", "tracks": ["inbound"]}
    await carrier.send_all(carrier_message("start", number, 1, start={**start, "mediaFormat": media_format}))
    return FarEnds(number, carrier, *await sessions.receive())


@frozen
class Cost:
    """What something costs: microseconds, one figure for each round, and how many functions are called (None: not counted)."""

    us: list[float]
    functions: float | None = None


@frozen
class Report:
    """What one process found."""

    compiled: bool
    costs: dict[str, Cost]
    frames: int
    frames_in_journals: int
    pieces: int
    pieces_in_journals: int


@define(eq=False)
class Rounds:
    """Rounds in which some calls' far ends send something each, and all of it is served."""

    stopwatch: Stopwatch
    far_ends: list[FarEnds]

    async def one(self, send: Callable[[FarEnds], None], which: slice = slice(None)) -> list[float]:
        """Have some send, and the poller serve them; return what each cost, in the order in which they were served."""
        senders = self._sent(send, which)
        await self.stopwatch.wait()
        return self._taken_us(senders)

    def by_hand(self, send: Callable[[FarEnds], None], *, callers: bool) -> list[float]:
        """Have all send, callers or models, and serve them at once, without the poller."""
        senders = self._sent(send, slice(None))
        for serve in self.stopwatch.watched[callers].values():
            if serve() is not MORE:
                raise RuntimeError("the server has something else to do with a connection than to serve it")
        return self._taken_us(senders)

    def _sent(self, send: Callable[[FarEnds], None], which: slice) -> list[FarEnds]:
        senders = self.far_ends[which]
        self.stopwatch.expect(len(senders))
        for each in senders:
            send(each)
        return senders

    def _taken_us(self, senders: list[FarEnds]) -> list[float]:
        for each in senders:
            each.read_all()
        return [taken / 1000 for taken in self.stopwatch.taken_ns]

    async def warm(self, send: Callable[[FarEnds], None], rounds: int, *, callers: bool) -> Cost:
        """What it costs where nothing sleeps, by the mean of each round; and then the functions that are called for it."""
        means = []
        for _ in turns(rounds):
            await trio.lowlevel.checkpoint()
            means.append(statistics.mean(self.by_hand(send, callers=callers)))
        self.stopwatch.profile = profile = Profile()
        for _ in range(COUNTED_ROUNDS):
            self.by_hand(send, callers=callers)
        self.stopwatch.profile = None
        called = sum(entry.callcount for entry in profile.getstats() if "_lsprof" not in str(entry.code))
        return Cost(means, called / COUNTED_ROUNDS / len(self.far_ends))

    async def cold(self, rounds: int) -> dict[str, Cost]:
        """What callers' frames cost that come while the server sleeps, ten after ten of the calls."""
        first, behind, around = Cost([]), Cost([]), Cost([])
        begins = range(0, len(self.far_ends), GATHERED_FRAMES)
        for _, begin in ((turn, begin) for turn in turns(rounds) for begin in begins):
            taken = await self.one(FarEnds.speak, slice(begin, begin + GATHERED_FRAMES))
            first.us.append(taken[0])
            behind.us.append(statistics.mean(taken[1:] or taken))
            around.us.append(self.stopwatch.around_ns / 1000 / len(taken))
        return {"first": first, "behind": behind, "around": around}


def turns(rounds: int) -> Iterator[None]:
    """So many rounds, and the other process's turn before some of them."""
    for number in range(rounds):
        if number % ROUNDS_A_TURN == 0:
            let_the_other_work()
        yield


def let_the_other_work() -> None:
    """Stand still for the other process's turn."""
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdin.readline()


async def measure(count: int, rounds: int, folder: Path) -> Report:
    """Hold so many calls, and take their time in so many rounds."""
    stopwatch = Stopwatch()
    with trio.fail_after(WHOLE_LIMIT_S):
        async with calls(count, folder, stopwatch) as far_ends:
            all_calls = Rounds(stopwatch, far_ends)
            await all_calls.one(FarEnds.begin_reply)
            piece = await all_calls.warm(FarEnds.reply, rounds // 2, callers=False)
            written = await all_calls.warm(partial(FarEnds.reply, words=" appointment"), rounds // 2, callers=False)
            await all_calls.one(FarEnds.end_reply)
            # Of each call every second level is measured: with this, of half the calls in each round.
            await all_calls.one(FarEnds.speak, slice(0, None, 2))
            frame = await all_calls.warm(FarEnds.speak, rounds, callers=True)
            costs = {"frame": frame, **await all_calls.cold(rounds // 2), "piece": piece, "written": written}
    journals = [await path.read_text(encoding="utf-8") for path in await trio.Path(folder).glob("*/call.jsonl")]
    return Report(
        compiled=wire.read_text is not wire.python_read_text,
        costs=costs,
        frames=sum(each.frames for each in far_ends),
        frames_in_journals=sum(journal.count('"command":"AppendAudio"') for journal in journals),
        pieces=sum(each.pieces for each in far_ends),
        pieces_in_journals=sum(journal.count('"command":"PlayAudio"') for journal in journals),
    )


def main(count: int, rounds: int, folder: str) -> None:
    """Measure, with the calls' files in `folder`, and write the report."""
    pin(PROCESSOR)
    gc.set_threshold(*NEW_OBJECTS)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    let_the_other_work()
    sys.stdout.write(msgspec.json.encode(trio.run(measure, count, rounds, Path(folder))).decode() + "\n")
