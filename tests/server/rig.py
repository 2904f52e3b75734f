"""Calls with both ends in the test's hands, in virtual time: real front door, real framing, memory in the place of the network.

`Rig` is the server and the two worlds around it. `Rig.line()` is a carrier's socket, bare; `Rig.call()` one whose telephone plays
and echoes like a carrier's (the sans-I/O carrier of the phone). The model's side of every session comes out at `Rig.session()`:
its greeting and settings are agreed on by the rig, everything after that is said and heard by the test.
"""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
import trio
import trio.testing
from attrs import Factory, define, field
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from trio_voice.agent.agent import Agent
from trio_voice.audio.g711 import BYTES_PER_MS, ULAW_SILENCE, pcm16_to_ulaw
from trio_voice.core.settings import CallSettings
from trio_voice.phone.carrier import Carrier, Identity
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.answering import Answering, Witness
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.call_watch import Watch
from trio_voice.server.dial import Target
from trio_voice.server.directory import CallDirectory
from trio_voice.server.front_door import FrontDoor, Limits
from trio_voice.server.model import ModelEndpoint
from trio_voice.server.pages import Pages
from trio_voice.server.websocket import ConnectFailed, MessageSocket, SocketClosed, answer_websocket, client_websocket
from trio_voice.storage.journal_file import WRITE_EVERY_S
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Replayed, Verdict, replay
from trio_voice.storage.writing import Writing, writing

MODEL_URL = "ws://model.example/v1/realtime?model=gpt-realtime-2.1"
APOLOGY = b"\x55" * 4000


def noise(rms: int, seed: int = 1) -> bytes:
    """20 ms of mu-law noise."""
    source = random.Random(seed)
    samples = [round(source.gauss(0, rms)) for _ in range(160)]
    return pcm16_to_ulaw(b"".join(max(-32768, min(32767, sample)).to_bytes(2, "little", signed=True) for sample in samples))


QUIET = noise(60)
"""A telephone line on which nobody speaks: about -55 dBFS."""
VOICE = noise(6000)
"""Somebody speaks: about -15 dBFS."""
BOUND_S = 60.0
"""How long a call may take to end, whatever its peers do."""
Message = dict[str, Any]


async def no_page(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    raise AssertionError("nobody asks for a page here")


async def _inline(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Stands for a thread: a clock that jumps while all tasks wait would jump while the thread works."""
    await trio.lowlevel.checkpoint()
    return function(*args)


async def _refused(*_args: Any, **_options: Any) -> NoReturn:
    """Stands for a system that gives no thread; tests/storage/test_threads.py holds Python to these words."""
    await trio.lowlevel.checkpoint()
    raise RuntimeError("can't start new thread")


@define(eq=False)
class Network(trio.abc.HalfCloseableStream):
    """One end of a connection, which can be frozen: then nothing is read from it, and what is sent to it piles up."""

    _stream: trio.abc.HalfCloseableStream
    _thawed: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._thawed.set()

    def freeze(self) -> None:
        self._thawed = trio.Event()

    def thaw(self) -> None:
        self._thawed.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        await self._thawed.wait()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@define(eq=False)
class Talker:
    """One end of a WebSocket in JSON: all that was received, and when."""

    socket: MessageSocket
    received: list[Message] = field(factory=list)
    times: list[float] = field(factory=list)
    closed: SocketClosed | None = None
    _next: int = 0
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    on_message: Callable[[Message], Awaitable[None]] | None = None

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def read(self) -> None:
        """Read to the end of the socket."""
        try:
            while True:
                message = json.loads(await self.socket.receive())
                self.received.append(message)
                self.times.append(trio.current_time())
                self._changed.unpark_all()
                if self.on_message is not None:
                    await self.on_message(message)
        except SocketClosed as closed:
            self.closed = closed
            self._changed.unpark_all()

    def kinds(self) -> list[str]:
        """The types of all that was received; audio appended or played in a row only once."""
        kinds: list[str] = []
        for message in self.received:
            kind = message.get("type") or message["event"]
            if not (kind in ("input_audio_buffer.append", "media") and kinds[-1:] == [kind]):
                kinds.append(kind)
        return kinds

    async def expect(self, kind: str) -> Message:
        """Wait for the next message of a type; those before it are passed over."""
        while True:
            while self._next < len(self.received):
                message = self.received[self._next]
                self._next += 1
                if (message.get("type") or message.get("event")) == kind:
                    return message
            assert self.closed is None, f"no {kind} came: {self.closed}; {self.kinds()}"
            await self._changed.park()

    async def end(self) -> SocketClosed:
        """Wait for the end of the socket."""
        while self.closed is None:
            await self._changed.park()
        return self.closed


class ModelTalker(Talker):
    """The model's end of one session."""

    async def agree(self) -> None:
        """Create the session, and echo the settings that we are asked for."""
        await self.send(type="session.created", event_id="e", session={"type": "realtime"})
        update = await self.expect("session.update")
        await self.send(type="session.updated", event_id="e", session=update["session"])

    async def hear(self, item_id: str = "u1") -> None:
        """The caller's turn, from speech to commit."""
        await self.send(type="input_audio_buffer.speech_started", event_id="e", item_id=item_id, audio_start_ms=0)
        await self.send(type="input_audio_buffer.speech_stopped", event_id="e", item_id=item_id, audio_end_ms=500)
        await self.send(type="input_audio_buffer.committed", event_id="e", item_id=item_id, previous_item_id=None)

    async def begin(self, response_id: str = "r1", item_id: str = "i1") -> None:
        """Begin a response; it names the request that it answers, as the real one does."""
        metadata = next((each["response"].get("metadata") for each in reversed(self.received) if "response" in each), None)
        response = {"id": response_id, "status": "in_progress", "metadata": metadata}
        await self.send(type="response.created", event_id="e", response=response)
        item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        await self.send(type="response.output_item.added", event_id="e", response_id=response_id, output_index=0, item=item)

    async def speak(self, ms: int, response_id: str = "r1", item_id: str = "i1", sample: bytes = b"\x20") -> None:
        """A piece of its speech."""
        delta = b64encode(sample * (ms * BYTES_PER_MS)).decode()
        place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
        await self.send(type="response.output_audio.delta", event_id="e", delta=delta, **place)

    async def finish(self, response_id: str = "r1", item_id: str = "i1", status: str = "completed") -> None:
        """End a response."""
        place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
        await self.send(type="response.output_audio.done", event_id="e", **place)
        await self.send(type="response.done", event_id="e", response={"id": response_id, "status": status, "output": []})

    async def answer(self, ms: int, response_id: str = "r1", item_id: str = "i1") -> None:
        """A whole response."""
        await self.begin(response_id, item_id)
        await self.speak(ms, response_id, item_id)
        await self.finish(response_id, item_id)


@define(eq=False)
class Telephone(Talker):
    """A carrier that plays what it gets, in real time, and echoes marks."""

    carrier: Carrier = field(factory=lambda: Carrier(Identity.made_up()))
    _moved: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def ring(self) -> None:
        for message in self.carrier.answer(trio.current_time()):
            await self.socket.send(message)

    async def play(self) -> None:
        """Echo each mark when it has been played."""
        while True:
            deadline = self.carrier.next_deadline()
            with trio.move_on_at(inf if deadline is None else deadline):
                await self._moved.park()
            await self._echo(self.carrier.advance(trio.current_time()))

    async def take(self, message: Message) -> None:
        await self._echo(self.carrier.receive(json.dumps(message), trio.current_time()))
        self._moved.unpark_all()

    async def say(self, frames: int, sample: bytes = QUIET) -> None:
        """The caller's frames, one every 20 ms."""
        for _ in range(frames):
            await self.socket.send(self.carrier.speak(sample))
            await trio.sleep(0.02)

    async def speak(self, ulaw: bytes) -> None:
        """Speech, in frames of 20 ms."""
        for start in range(0, len(ulaw) - 159, 160):
            await self.say(1, ulaw[start : start + 160])

    async def press(self, digit: str) -> None:
        await self.socket.send(self.carrier.press(digit, trio.current_time()))

    async def keep_quiet(self) -> None:
        """The line's noise, until the call is over."""
        with suppress(SocketClosed):
            while self.carrier.streaming:
                await self.say(1)

    async def hang_up(self) -> None:
        for message in self.carrier.stop(trio.current_time()):
            await self.socket.send(message)

    async def _echo(self, messages: list[str]) -> None:
        with suppress(SocketClosed):
            for message in messages:
                await self.socket.send(message)

    @property
    def heard(self) -> bytes:
        """What came out of the telephone until now, but for silence."""
        self.carrier.advance(trio.current_time())
        return bytes(self.carrier.heard).replace(bytes([ULAW_SILENCE]), b"")


@define(eq=False)
class Rig:
    """A server with its worlds."""

    calls_folder: Path
    nursery: trio.Nursery
    logs: Sequence[Mapping[str, Any]]
    journals: Writing
    directory: CallDirectory = field(factory=CallDirectory)
    settings: CallSettings = field(factory=lambda: CallSettings(greeting=False))
    agent: Agent = field(factory=lambda: Agent(instructions="Be brief."))
    start_limit_s: float = 10.0
    witnesses: Sequence[Witness] = ()
    comfort: bytes = b""
    beep: bytes = b""
    ping_every_s: float = 0.0
    transcription_model: str | None = None
    watches: tuple[Watch, ...] = ()
    sessions: list[ModelTalker] = field(factory=list)
    refusals: list[str] = field(factory=list)
    """Reasons with which the next connections to the model fail."""
    model: Callable[[trio.abc.HalfCloseableStream], Awaitable[None]] = field(
        default=Factory(lambda self: self.talk_by_hand, takes_self=True)
    )
    """What answers the connections to the model."""
    roomy: bool = True
    """The network to the model takes all that is sent; else no more than what is read."""
    model_networks: list[Network] = field(factory=list)
    serving: list[trio.CancelScope] = field(factory=list)
    _opened: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    # --- the carrier's side

    def plan(self) -> CallPlan:
        return CallPlan(
            endpoint=ModelEndpoint(url=MODEL_URL, connect=self.connect, ping_every_s=self.ping_every_s),
            session=self.agent.session(
                SessionSettings(instructions="", model="test", transcription_model=self.transcription_model)
            ),
            comfort=self.comfort,
            beep=self.beep,
            toolbox=self.agent.toolbox,
            agent_name=self.agent.name,
            jitter=lambda: 1.0,
            settings=self.settings,
            apology=APOLOGY,
            start_limit_s=self.start_limit_s,
            watches=self.watches,
        )

    async def serve(self, stream: trio.abc.HalfCloseableStream, dialects: frozenset[str] = frozenset({"twilio"})) -> None:
        """Answer a connection as trio.serve_listeners has it answered."""
        answering = Answering(self.plan(), self.directory, self.calls_folder, self.journals, witnesses=self.witnesses)
        try:
            with trio.CancelScope() as scope:
                self.serving.append(scope)
                await FrontDoor(answering, Pages.of(no_page), trio.Event(), dialects, Limits()).answer(stream)
        finally:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def dialled(self, *, roomy: bool = True) -> AsyncIterator[tuple[MessageSocket, Network]]:
        """A carrier's socket, and the network under it; one that is not `roomy` takes no more than what is read."""
        near, far = trio.testing.memory_stream_pair() if roomy else trio.testing.lockstep_stream_pair()
        self.nursery.start_soon(self.serve, far)
        network = Network(near)
        async with client_websocket(network, "voice.example", "/media/twilio") as socket:
            yield socket, network

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Talker]:
        """A carrier's end of a media stream; nothing has been sent on it."""
        async with self.dialled() as (socket, _network), trio.open_nursery() as nursery:
            talker = Talker(socket)
            nursery.start_soon(talker.read)
            yield talker
            nursery.cancel_scope.cancel()

    def stop_serving(self) -> None:
        """End the server's side of all connections, as the end of the server does."""
        for scope in self.serving:
            scope.cancel()

    @asynccontextmanager
    async def call(self) -> AsyncIterator[Telephone]:
        """A telephone whose stream has begun; leaving the block without hanging up closes the line."""
        async with self.dialled() as (socket, _network), trio.open_nursery() as nursery:
            phone = Telephone(socket)
            phone.on_message = phone.take
            await phone.ring()
            nursery.start_soon(phone.read)
            nursery.start_soon(phone.play)
            yield phone
            nursery.cancel_scope.cancel()

    # --- the model's side

    @asynccontextmanager
    async def connect(
        self, url: str, headers: Mapping[str, str], *, max_message_bytes: int, connect_timeout_s: float
    ) -> AsyncIterator[MessageSocket]:
        """Stands for `open_websocket`."""
        if self.refusals:
            raise ConnectFailed(self.refusals.pop(0))
        near, far = trio.testing.memory_stream_pair() if self.roomy else trio.testing.lockstep_stream_pair()
        self.model_networks.append(Network(far))
        self.nursery.start_soon(self.model, self.model_networks[-1])
        target = Target.of(url)
        async with client_websocket(
            near, target.authority, target.resource, headers, max_message_bytes=max_message_bytes
        ) as socket:
            yield socket

    async def talk_by_hand(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve a session whose model is the test."""
        try:
            async with answer_websocket(stream) as upgrade, trio.open_nursery() as nursery:
                talker = ModelTalker(await upgrade.accept())
                nursery.start_soon(talker.read)
                await talker.agree()
                self.sessions.append(talker)
                self._opened.unpark_all()
                await talker.end()
        except* (ConnectFailed, SocketClosed):
            pass

    async def session(self, number: int = 1) -> ModelTalker:
        """Wait for the model's end of session `number` of this rig."""
        while len(self.sessions) < number:
            await self._opened.park()
        return self.sessions[number - 1]

    # --- what is left

    def journal(self) -> list[Message]:
        """The lines of the only call's journal."""
        (path,) = journals(self.calls_folder)
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def journal_of(self, phone: Telephone) -> list[Message]:
        """The lines of one call's journal."""
        of_all = [[json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in journals(self.calls_folder)]
        (journal,) = [lines for lines in of_all if lines and lines[0]["call_sid"] == phone.carrier.identity.call_sid]
        return journal

    def said(self) -> list[str]:
        """The only call's journal in short, without its header and single frames."""
        return [text for text in map(in_short, self.journal()[1:]) if text not in FRAMES]

    def logged(self, event: str) -> list[Mapping[str, Any]]:
        return [line for line in self.logs if line["event"] == event]


FRAMES = ("> CallerAudio", "< AppendAudio", "> ModelAudio", "< PlayAudio")


def errors_in(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was logged as an error, with its kind."""
    return [f"{line['event']} {type(line.get('exc_info')).__name__}" for line in logs if line["log_level"] == "error"]


def journals(calls_folder: Path) -> list[Path]:
    return sorted(calls_folder.glob("*/call.jsonl"))


def assert_complete(journal: Path) -> Replayed:
    """A journal begins with its header, goes on in order, replays to the same commands, and ends with the close."""
    lines = journal.read_text("utf-8").splitlines()
    times = [json.loads(line)["t"] for line in lines[1:]]
    assert times == sorted(times)
    assert [index for index, line in enumerate(lines) if '"command":"Close"' in line] == [len(lines) - 1]
    replayed = replay(JournalReader(iter(lines)))
    assert (replayed.verdict, replayed.ended, replayed.difference) == (Verdict.SAME, True, None)
    return replayed


def in_short(line: Message) -> str:
    if "event" in line:
        return f"> {line['event']}"
    if "command" in line:
        return f"< {line['command']}"
    return f"@ {line['timer']}" if "timer" in line else f"# {line['remark']}"


def audio_of(message: Message) -> bytes:
    """The audio in a message to the carrier, or to the model."""
    return b64decode(message["media"]["payload"] if "media" in message else message["audio"])


@contextmanager
def threads_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", _inline)
        yield


@contextmanager
def no_threads() -> Iterator[None]:
    """There is no thread to be had in the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", _refused)
        yield


@asynccontextmanager
async def rig(calls_folder: Path, **options: Any) -> AsyncIterator[Rig]:
    """A server for the time of the block. Every call must be over when it is left."""
    processors = [structlog.contextvars.merge_contextvars]
    with threads_at_once(), structlog.testing.capture_logs(processors) as logs:
        async with writing(WRITE_EVERY_S) as journals, trio.open_nursery() as nursery:
            world = Rig(calls_folder, nursery, logs, journals, **options)
            yield world
            with trio.move_on_after(BOUND_S) as scope:
                while nursery.child_tasks:  # noqa: ASYNC110 - nothing tells when a nursery has become empty
                    await trio.sleep(0.01)
            assert not scope.cancelled_caught, f"left after {BOUND_S} s: {nursery.child_tasks}"
        assert len(world.directory) == 0


@asynccontextmanager
async def rig_with_another_call(calls_folder: Path, **settings: Any) -> AsyncIterator[Rig]:
    """A server on which another caller is spoken with, in session 1, before and after what the block does."""
    settings = {"greeting": False, "idle_s": 0, "media_limit_s": 1000, **settings}
    async with rig(calls_folder, settings=CallSettings(**settings)) as world, world.call() as other:
        model = await world.session(1)
        if settings["greeting"]:
            await model.expect("response.create")
            await model.answer(100, "r0", "i0")
            await trio.sleep(1)
        for turn in (1, 2):
            await model.hear(f"u{turn}")
            await model.expect("response.create")
            await model.answer(200, f"r{turn}", f"i{turn}")
            await trio.sleep(1)
            if turn == 1:
                yield world
                assert other.closed is None
        assert len(other.heard) == (400 + 100 * settings["greeting"]) * BYTES_PER_MS
        await other.hang_up()
