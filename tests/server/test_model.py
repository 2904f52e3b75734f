"""One session with a model, from the dialling to its end: what it tells the call, and when."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from attrs import define, evolve, field

from tests.server.memory_socket import MemorySocket, socket_pair
from tests.server.rig import noise
from trio_voice.core.commands import AppendAudio, CancelResponse, CreateResponse, Purpose
from trio_voice.core.events import (
    ChangeApplied,
    ChangeRefused,
    Event,
    ModelAudio,
    ModelErred,
    OutboxOverran,
    SendFailed,
    SessionLost,
    SessionReady,
    SpeechStarted,
)
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.message_socket import NOTHING
from trio_voice.server.model import LAST_WORDS_LIMIT_S, ModelEndpoint, ModelSession
from trio_voice.server.websocket import MODEL_MESSAGE_BYTES, ConnectFailed, MessageSocket, SocketClosed

URL = "wss://model.example/v1/realtime?model=test"
SETTINGS = SessionSettings(instructions="Be brief.", model="test", voice="marin")
CREATE = CreateResponse(1, 1, Purpose.TURN)
KEY_HINT = "the model refuses the key: set the right one (OPENAI_API_KEY, TRIO_VOICE_MODEL_API_KEY or model.api_key_file)"
Message = dict[str, Any]


@define(eq=False)
class World:
    """A session, the model's end of it, and what the call was told."""

    session: ModelSession = field(init=False)
    capacity: int = 1_000_000
    failure: ConnectFailed | None = None
    connect_s: float = 0.0
    answer_limit_s: float = 5.0
    ping_every_s: float = 0.0
    append_ms: int = 0
    told: list[tuple[float, Event]] = field(factory=list)
    far: MemorySocket = field(init=False)
    near: MemorySocket = field(init=False)
    asked: list[tuple[str, Mapping[str, str], int, float]] = field(factory=list)
    something_told: trio.Event = field(factory=trio.Event)
    over_at: float | None = None

    def __attrs_post_init__(self) -> None:
        self.near, self.far = socket_pair(self.capacity)
        endpoint = ModelEndpoint(url=URL, headers={"Authorization": "Bearer x"}, connect=self.connect)
        self.session = ModelSession(
            1,
            evolve(endpoint, answer_limit_s=self.answer_limit_s, ping_every_s=self.ping_every_s, append_ms=self.append_ms),
            SETTINGS,
            self.feed,
        )

    def feed(self, event: Event) -> None:
        self.told.append((trio.current_time(), event))
        self.something_told.set()

    def events(self) -> list[Event]:
        return [event for _, event in self.told]

    @asynccontextmanager
    async def connect(
        self, url: str, headers: Mapping[str, str], *, max_message_bytes: int, connect_timeout_s: float
    ) -> AsyncIterator[MessageSocket]:
        self.asked.append((url, headers, max_message_bytes, connect_timeout_s))
        await trio.sleep(self.connect_s)
        if self.failure is not None:
            raise self.failure
        try:
            yield self.near
        finally:
            await self.near.close()

    async def run(self, delay_s: float) -> None:
        await self.session.run(delay_s)
        self.over_at = trio.current_time()

    async def send(self, **message: Any) -> None:
        await self.far.send(json.dumps(message))

    async def next(self) -> Message:
        message: Message = json.loads(await self.far.receive())
        return message

    async def agree(self, **applied: Any) -> Message:
        """Create the session and echo its settings, with these in the place of what was asked for."""
        await self.send(type="session.created", event_id="e", session={})
        update = await self.next()
        await self.send(type="session.updated", event_id="e", session=update["session"] | applied)
        await trio.testing.wait_all_tasks_blocked()
        return update


@asynccontextmanager
async def opened(delay_s: float = 0.0, **options: Any) -> AsyncIterator[World]:
    """A session that is being opened; it must be over soon after the block."""
    world = World(**options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run, delay_s)
        await trio.testing.wait_all_tasks_blocked()
        yield world
        with trio.move_on_after(60):
            while world.over_at is None:  # noqa: ASYNC110 - the clock is a mock
                await trio.sleep(0.5)
        assert world.over_at is not None


async def lost_with(world: World) -> SessionLost:
    """Wait for the end of the session, and return the only thing that was told."""
    await world.something_told.wait()
    (event,) = world.events()
    assert isinstance(event, SessionLost)
    assert event.session == 1
    return event


# --- opening -----------------------------------------------------------------------------------------------------------


async def test_a_session_is_ready_when_the_model_has_taken_our_settings(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        assert world.asked == [(URL, {"Authorization": "Bearer x"}, MODEL_MESSAGE_BYTES, 5.0)]
        await world.send(type="session.created", event_id="e", session={})
        update = await world.next()
        assert update["type"] == "session.update"
        assert update["session"]["instructions"] == "Be brief."
        assert update["session"]["audio"]["input"]["turn_detection"]["create_response"] is False
        assert world.events() == []
        assert world.session.send(CREATE) is False
        await world.send(type="session.updated", event_id="e", session=update["session"])
        await trio.testing.wait_all_tasks_blocked()
        assert world.events() == [SessionReady(1)]
        assert world.session.send(CREATE)
        assert (await world.next())["event_id"] == "create-1"
        world.session.close()
    assert world.events() == [SessionReady(1)]
    assert world.near.ended == (1000, "")


async def test_the_delay_comes_before_the_dialling(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(0.5) as world:
        await trio.sleep(0.499)
        assert world.asked == []
        await trio.sleep(0.002)
        assert len(world.asked) == 1
        world.session.close()


@pytest.mark.parametrize("updates", [0, 1])
async def test_a_model_that_does_not_answer_is_lost_at_the_limit(autojump_clock: trio.testing.MockClock, updates: int) -> None:
    async with opened() as world:
        if updates:
            await world.send(type="session.created", event_id="e", session={})
            await world.next()
        began = trio.current_time()
        await trio.sleep(4.999)
        await trio.testing.wait_all_tasks_blocked()
        assert world.told == []
        lost = await lost_with(world)
        assert world.told[0][0] - began == 5.0
        assert lost.retryable
        assert lost.reason == f"no session.{['created', 'updated'][updates]} within 5 s"


async def test_settings_that_were_not_applied_are_no_session(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await world.agree(audio={"input": {"format": {"type": "audio/pcm", "rate": 24000}}, "output": {}})
        lost = await lost_with(world)
        assert not lost.retryable
        assert lost.reason.startswith("the model did not apply our settings: session.audio.input.format")
        assert world.near.ended == (1000, "")


async def test_other_differences_are_only_logged(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened() as world:
            await world.agree(instructions="Be long.")
            assert world.events() == [SessionReady(1)]
            world.session.close()
    (line,) = [line for line in logs if line["event"] == "the model applied other settings"]
    assert line["differences"] == ["session.instructions: asked for 'Be brief.', the peer applied 'Be long.'"]


async def test_settings_that_are_refused_are_no_session(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await world.send(type="session.created", event_id="e", session={})
        update = await world.next()
        error = {"type": "invalid_request_error", "message": "no such voice", "event_id": update["event_id"]}
        await world.send(type="error", event_id="e", error=error)
        lost = await lost_with(world)
        assert lost == SessionLost(1, "the model refused our settings: no such voice", retryable=False)


@pytest.mark.parametrize(("status", "retryable"), [(None, True), (401, False), (404, False), (429, True), (503, True)])
async def test_a_connection_that_fails(autojump_clock: trio.testing.MockClock, status: int | None, retryable: bool) -> None:
    async with opened(failure=ConnectFailed("cannot connect", status=status)) as world:
        assert await lost_with(world) == SessionLost(1, "cannot connect", retryable)


async def test_a_long_reason_is_told_whole_and_logged_in_short(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(failure=ConnectFailed("x" * 500)) as world:
            assert (await lost_with(world)).reason == "x" * 500
    (line,) = logs
    assert (line["log_level"], line["reason"], line["retry"]) == ("warning", "x" * 160 + "...", True)


async def test_a_wrong_key_is_an_error_and_a_close_and_no_retry_can_mend_it(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": "Incorrect API key provided"}
        await world.send(type="error", event_id="e", error=error)
        await world.far.close(1000, "")
        assert not (await lost_with(world)).retryable


@pytest.mark.parametrize(
    ("error", "code", "reason", "told"),
    [
        (None, 3000, "invalid_request_error.invalid_api_key", 1),
        ("invalid_api_key", 1000, "", 1),
        (None, 3000, "invalid_request_error.invalid_model", 0),
        ("server_error", 1006, "", 0),
    ],
)
async def test_whose_key_is_refused_is_told_once_where_it_is_set(
    autojump_clock: trio.testing.MockClock, error: str | None, code: int, reason: str, told: int
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened() as world:
            if error is not None:
                await world.send(type="error", event_id="e", error={"type": "x", "code": error, "message": "No."})
            await world.far.close(code, reason)
            await lost_with(world)
    assert [line["hint"] for line in logs if "hint" in line] == [KEY_HINT] * told


@pytest.mark.parametrize(("status", "told"), [(401, 1), (403, 0), (None, 0)])
async def test_a_key_that_a_gateway_refuses_is_told_too(
    autojump_clock: trio.testing.MockClock, status: int | None, told: int
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(failure=ConnectFailed("cannot connect", status=status)) as world:
            await lost_with(world)
    assert [line["hint"] for line in logs if "hint" in line] == [KEY_HINT] * told


# --- serving -----------------------------------------------------------------------------------------------------------


async def test_what_the_model_says_is_told_in_order_and_its_audio_with_its_level(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as world:
        await world.agree()
        await world.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u1", audio_start_ms=40)
        place = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
        await world.send(type="response.output_audio.delta", event_id="e", delta="AAAA", **place)
        await world.send(type="something.new", event_id="e")
        await world.send(type="error", event_id="e", error={"type": "server_error", "message": "oops"})
        await trio.testing.wait_all_tasks_blocked()
        assert world.events()[1:] == [
            SpeechStarted(1, "u1", 40),
            ModelAudio(1, "r1", "i1", b"\0\0\0", -0.2),
            ModelErred(1, "server_error", "oops"),
        ]
        world.session.close()


@pytest.mark.parametrize(
    ("code", "reason", "retryable"),
    [(1000, "", True), (1006, "", True), (1001, "going away", True), (1008, "policy", False), (3000, "invalid_model", False)],
)
async def test_a_session_that_is_closed_is_lost_once(
    autojump_clock: trio.testing.MockClock, code: int, reason: str, retryable: bool
) -> None:
    async with opened() as world:
        await world.agree()
        await world.far.close(code, reason)
        await trio.testing.wait_all_tasks_blocked()
        reasons = f"closed by the model ({code} {reason}".rstrip() + ")"
        assert world.events()[1:] == [SessionLost(1, reasons, retryable)]
        assert world.session.send(CREATE) is False


async def test_an_event_that_cannot_be_read_loses_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await world.agree()
        await world.send(type="response.done")
        await trio.testing.wait_all_tasks_blocked()
        lost = world.events()[-1]
        assert isinstance(lost, SessionLost)
        assert lost.retryable
        assert lost.reason.startswith("the model broke its protocol: the model sent response.done that cannot be read")


async def test_r04_a_cancel_that_does_not_leave_is_told_before_the_loss(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(capacity=1) as world:
        await world.agree()
        world.session.send(AppendAudio(1, noise(100)))
        world.session.send(CancelResponse(1, "r1"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.near.attempts) == 3  # the settings, the audio, and the cancel, which waits for the network
        world.far.end(1006)
        await trio.testing.wait_all_tasks_blocked()
        assert world.events()[1] == SendFailed(1, "cancel-r1")
        assert list(map(type, world.events()[2:])) == [SessionLost]


async def test_a_model_that_does_not_read_is_an_overrun_and_the_session_ends_by_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(capacity=1) as world:
        await world.agree()
        began = trio.current_time()
        world.session.send(AppendAudio(1, noise(100)))
        world.session.send(CREATE)
        await trio.sleep_until(began + 10 + LAST_WORDS_LIMIT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert world.told[1:3] == [(began + 10, SendFailed(1, "create-1")), (began + 10, OutboxOverran("model", 1))]
        assert isinstance(world.events()[-1], SessionLost)


FRAMES = [noise(100, seed) for seed in range(6)]


def appended(*audio: bytes) -> Message:
    return {"type": "input_audio_buffer.append", "audio": b64encode(b"".join(audio)).decode()}


@pytest.mark.parametrize(("append_ms", "messages"), [(0, [1, 1, 1, 1, 1, 1]), (40, [2, 2, 2]), (60, [3, 3])])
async def test_so_much_audio_as_is_wanted_goes_into_one_message(
    autojump_clock: trio.testing.MockClock, append_ms: int, messages: list[int]
) -> None:
    async with opened(append_ms=append_ms) as world:
        await world.agree()
        assert all(world.session.send(AppendAudio(1, frame)) for frame in FRAMES)
        rest = iter(FRAMES)
        for frames in messages:
            assert await world.next() == appended(*(next(rest) for _ in range(frames)))
        world.session.close()


async def test_audio_that_waits_for_more_goes_before_what_follows_it(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(append_ms=60) as world:
        await world.agree()
        world.session.send(AppendAudio(1, FRAMES[0]))
        world.session.send(CREATE)
        assert await world.next() == appended(FRAMES[0])
        assert (await world.next())["type"] == "response.create"
        world.session.send(AppendAudio(1, FRAMES[1]))
        world.session.update(evolve(SETTINGS, instructions="Be long."), 1, "update-1")
        assert await world.next() == appended(FRAMES[1])
        assert (await world.next())["type"] == "session.update"
        world.session.close()


async def test_frames_that_pile_up_before_a_slow_model_are_merged(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(capacity=1) as world:
        await world.agree()
        for frame in FRAMES:  # the first leaves, the second waits to be written, and so the others are merged
            world.session.send(AppendAudio(1, frame))
        assert [await world.next() for _ in range(3)] == [appended(FRAMES[0]), appended(FRAMES[1]), appended(*FRAMES[2:5])]
        world.session.send(AppendAudio(1, FRAMES[0]))
        assert await world.next() == appended(FRAMES[5], FRAMES[0])
        world.session.close()


async def test_a_session_that_cannot_be_written_to_is_lost_when_it_has_said_its_last(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a connection is none; but what the model still says, an error for instance, is heard first."""

    async def fail(socket: MemorySocket, message: str | bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise SocketClosed(1006)

    async with opened() as world:
        await world.agree()
        began = trio.current_time()
        with monkeypatch.context() as patch:
            patch.setattr(MemorySocket, "send", fail)
            patch.setattr(MemorySocket, "send_now", lambda socket, message: NOTHING)
            world.session.send(CREATE)
            await trio.testing.wait_all_tasks_blocked()
        await world.send(type="error", event_id="e", error={"type": "server_error", "message": "last words"})
        await trio.sleep(LAST_WORDS_LIMIT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert world.events()[1:] == [
            SendFailed(1, "create-1"),
            ModelErred(1, "server_error", "last words"),
            SessionLost(1, "the model could not be written to, and said no more"),
        ]
        assert world.told[-1][0] - began == LAST_WORDS_LIMIT_S


async def test_r26_a_model_that_is_gone_without_a_word_is_lost_within_the_limits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(ping_every_s=1.0) as world:
        await world.agree()
        await trio.sleep(3.5)
        assert world.near.pings == 3
        world.near.dead = True
        await trio.sleep(0.5 + 1.5)
        await trio.testing.wait_all_tasks_blocked()
        reason = "the connection to the model broke: no sign of life within 1.5 s"
        assert world.told[1:] == [(4.0 + 1.5, SessionLost(1, reason, retryable=True))]


async def test_a_model_that_shall_not_be_asked_is_not(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(ping_every_s=0.0) as world:
        await world.agree()
        await trio.sleep(30)
        assert world.near.pings == 0
        world.session.close()


async def test_the_end_is_told_before_the_goodbye_which_a_model_may_keep_us_waiting_for(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close_slowly(socket: MemorySocket, code: int = 1000, reason: str = "") -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        socket.end(code, reason)

    async with opened() as world:
        await world.agree()
        monkeypatch.setattr(MemorySocket, "close", close_slowly)
        began = trio.current_time()
        await world.send(type="response.done")  # what no event of a model looks like
        await trio.testing.wait_all_tasks_blocked()
        assert [(at - began, type(event)) for at, event in world.told[1:]] == [(0.0, SessionLost)]
        assert world.over_at is None
    assert world.over_at == began + 2


# --- closing -----------------------------------------------------------------------------------------------------------


async def test_closed_while_it_waits_to_dial(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(3.0) as world:
        world.session.close()
    assert (world.asked, world.told, world.over_at) == ([], [], 0.0)


async def test_closed_while_it_dials(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(connect_s=3.0) as world:
        world.session.close()
    assert (world.told, world.over_at) == ([], 0.0)


@pytest.mark.parametrize("updates", [0, 1])
async def test_closed_while_it_agrees_on_settings(autojump_clock: trio.testing.MockClock, updates: int) -> None:
    async with opened() as world:
        if updates:
            await world.send(type="session.created", event_id="e", session={})
            await world.next()
        world.session.close()
    assert (world.told, world.near.ended, world.over_at) == ([], (1000, ""), 0.0)


async def test_closed_while_it_serves_what_waits_still_leaves_and_nothing_more_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(capacity=1) as world:
        await world.agree()
        world.session.send(AppendAudio(1, noise(100)))
        world.session.send(CREATE)
        world.session.send(AppendAudio(1, noise(100)))
        world.session.close()
        assert world.session.send(CREATE) is False
        await world.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u1", audio_start_ms=40)
        await trio.testing.wait_all_tasks_blocked()
        assert (await world.next())["type"] == "input_audio_buffer.append"  # it had left
        assert (await world.next())["type"] == "response.create"  # the other audio was dropped: nobody listens any more
    assert world.events() == [SessionReady(1)]
    assert world.near.ended == (1000, "")


async def test_closed_while_the_model_does_not_read_it_is_over_after_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(capacity=1) as world:
        await world.agree()
        world.session.send(AppendAudio(1, noise(100)))
        world.session.send(CREATE)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        world.session.close()
    assert world.over_at == began + LAST_WORDS_LIMIT_S
    assert world.events() == [SessionReady(1)]


# --- other settings for a session that runs ----------------------------------------------------------------------------

BILLING = evolve(SETTINGS, instructions="Bill.")
CEDAR = evolve(BILLING, voice="cedar")


async def updated(world: World, settings: SessionSettings) -> Message:
    """The session is given other settings; what the model is sent."""
    await world.agree()
    assert world.session.update(settings, 1, "update-1")
    return await world.next()


async def test_r32_new_settings_leave_a_voice_that_stays_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        update = await updated(world, BILLING)
        assert (update["type"], update["event_id"]) == ("session.update", "update-1")
        assert (update["session"]["instructions"], "voice" in update["session"]["audio"]["output"]) == ("Bill.", False)
        await world.send(type="session.updated", event_id="e", session=update["session"])
        await trio.testing.wait_all_tasks_blocked()
        assert world.events() == [SessionReady(1), ChangeApplied(1, 1)]
        await world.send(type="session.updated", event_id="e", session=update["session"])  # nobody asked for that one
        await world.far.close()
    assert [type(event) for event in world.events()] == [SessionReady, ChangeApplied, SessionLost]


async def test_r30_a_voice_that_the_model_does_not_take_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        update = await updated(world, CEDAR)
        assert update["session"]["audio"]["output"]["voice"] == "cedar"
        update["session"]["audio"]["output"]["voice"] = "marin"
        await world.send(type="session.updated", event_id="e", session=update["session"])
        await trio.testing.wait_all_tasks_blocked()
        reason = "session.audio.output.voice: asked for 'cedar', the peer applied 'marin'"
        assert world.events() == [SessionReady(1), ChangeRefused(1, 1, reason)]
        await world.far.close()


async def test_an_update_that_is_refused_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await updated(world, CEDAR)
        await world.send(type="error", event_id="e", error={"code": "cannot_update_voice", "message": "no", "event_id": "x"})
        await world.send(
            type="error", event_id="e", error={"code": "cannot_update_voice", "message": "no", "event_id": "update-1"}
        )
        await trio.testing.wait_all_tasks_blocked()
        assert world.events()[-1] == ChangeRefused(1, 1, "the model refused: no")
        assert [type(event) for event in world.events()] == [SessionReady, ModelErred, ModelErred, ChangeRefused]
        await world.far.close()


async def test_an_update_that_would_make_the_call_noise_ends_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        update = await updated(world, BILLING)
        update["session"]["audio"]["output"]["format"] = {"type": "audio/pcm", "rate": 24000}
        await world.send(type="session.updated", event_id="e", session=update["session"])
        await trio.testing.wait_all_tasks_blocked()
    lost = world.events()[-1]
    assert isinstance(lost, SessionLost)
    assert "changed more than it should" in lost.reason


async def test_a_session_without_a_socket_cannot_be_updated() -> None:
    assert not World().session.update(BILLING, 1, "update-1")
