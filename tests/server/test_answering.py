"""From a carrier's upgrade to its call: what a bad carrier gets, that a log line says why, and that nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.server.rig import Rig, Talker, journals, no_page, rig, rig_with_another_call
from trio_voice.dialects.base import StreamStarted
from trio_voice.server.admission import Admission, EntryFault, MediaAccess
from trio_voice.server.answering import Answering, new_call_id
from trio_voice.server.foreign_code import leaves
from trio_voice.server.front_door import FrontDoor, Limits
from trio_voice.server.pages import Pages
from trio_voice.server.tokens import Issuer
from trio_voice.server.websocket import ConnectFailed, MessageSocket, SocketClosed, client_websocket

START = (
    '{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1","streamSid":"MZ1",'
    '"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}'
)
MEDIA = '{"event":"media","streamSid":"MZ1","media":{"track":"inbound","chunk":"1","timestamp":"0","payload":"//8="}}'


def call_id_in(world: Rig, event: str) -> str:
    """The call's id in the only log line of this event."""
    (line,) = world.logged(event)
    assert line["remote"] == "unknown"
    call_id = line["call_id"]
    assert isinstance(call_id, str)
    return call_id


async def test_no_start_within_10_s_closes_at_10_s_and_not_before(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig_with_another_call(tmp_path) as world, world.line() as line:
        began = trio.current_time()
        await line.send(event="connected", protocol="Call", version="1.0.0")
        await trio.sleep_until(began + 9.999)
        await trio.testing.wait_all_tasks_blocked()
        assert line.closed is None
        closed = await line.end()
        assert (trio.current_time() - began, closed.code, closed.reason) == (10.0, 1008, "no start within 10 s")
        call_id = call_id_in(world, "the stream did not start")
    assert not (tmp_path / call_id).exists()


async def test_a_carrier_that_leaves_before_its_stream_starts_is_logged(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig_with_another_call(tmp_path) as world:
        async with world.line() as line:
            await line.send(event="connected")
        await trio.testing.wait_all_tasks_blocked()
        assert call_id_in(world, "the carrier left before its stream started")


async def test_media_before_the_start_is_ignored_and_the_call_begins_with_the_start(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig_with_another_call(tmp_path) as world, world.line() as line:
        for _ in range(50):
            await line.socket.send(MEDIA)
        await line.socket.send(START)
        model = await world.session(2)
        await line.socket.send(MEDIA)
        assert await model.expect("input_audio_buffer.append") == {"type": "input_audio_buffer.append", "audio": "//8="}
        assert [each["kind"] for each in world.logged("the carrier sent something odd")] == ["before_start"] * 3
        assert world.logged("the carrier sent something odd")[0]["call_id"] == call_id_of(world, "CA1")
        await line.send(event="stop", streamSid="MZ1", stop={"callSid": "CA1"})
        await line.end()
        await trio.testing.wait_all_tasks_blocked()
        assert world.logged("call ended")[0]["oddities"] == {"before_start": 50}


def call_id_of(world: Rig, call_sid: str) -> str:
    call = world.directory.find(call_sid)
    assert call is not None
    return call.call_id


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("{not json", "not_json"),
        (b"\x00\x01", "binary"),
        ('{"event":"media","streamSid":"MZ1","media":{"track":"inbound","payload":"%%%"}}', "not_base64"),
        ('{"event":"media","streamSid":"MZ1"}', "wrong_shape"),
        ('{"event":"later","streamSid":"MZ1"}', "unknown_event"),
        (START, "repeated"),
    ],
)
async def test_a_message_that_is_odd_is_logged_and_the_call_goes_on(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, message: str | bytes, kind: str
) -> None:
    async with rig_with_another_call(tmp_path) as world, started(world) as line:
        await line.socket.send(message)
        await line.socket.send(MEDIA)
        await (await world.session(2)).expect("input_audio_buffer.append")
        (odd,) = world.logged("the carrier sent something odd")
        assert (odd["kind"], odd["call_id"], odd["call_sid"]) == (kind, call_id_of(world, "CA1"), "CA1")
        journal = tmp_path / odd["call_id"] / "call.jsonl"
    assert f"the carrier sent something odd ({kind}: " in journal.read_text("utf-8")


@asynccontextmanager
async def started(world: Rig) -> AsyncIterator[Talker]:
    """A second call, of the call_sid CA1 and the stream MZ1."""
    async with world.line() as line:
        await line.socket.send(START)
        await world.session(2)
        yield line


async def test_a_frame_without_audio_is_nobodys_business(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """A model answers an append of nothing with an error."""
    async with rig_with_another_call(tmp_path) as world, started(world) as line:
        await line.socket.send(MEDIA.replace("//8=", ""))
        await line.socket.send(MEDIA)
        model = await world.session(2)
        assert (await model.expect("input_audio_buffer.append"))["audio"] == "//8="
        assert world.logged("the carrier sent something odd") == []


async def test_what_never_speaks_the_dialect_is_closed(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig_with_another_call(tmp_path) as world, started(world) as line:
        for _ in range(20):
            await line.socket.send("garbage")
        closed = await line.end()
        assert closed.code == 1008
        assert closed.reason.startswith("20 malformed messages")
        assert call_id_in(world, "the carrier broke its protocol")


async def test_a_second_start_of_another_stream_ends_the_call(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig_with_another_call(tmp_path) as world, started(world) as line:
        await line.socket.send(START.replace("MZ1", "MZ2"))
        closed = await line.end()
        assert (closed.code, closed.reason) == (
            1008,
            "a second stream, 'MZ2', was started on the socket of 'MZ1'",
        )
        call_id_in(world, "the carrier broke its protocol")


async def test_a_stream_in_a_format_that_we_do_not_carry_is_refused(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig_with_another_call(tmp_path) as world, world.line() as line:
        await line.socket.send(START.replace("8000", "16000"))
        closed = await line.end()
        assert closed.code == 1008
        assert "16000 Hz" in closed.reason
        call_id_in(world, "the stream did not start")


async def test_an_oversized_message_ends_the_call(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig_with_another_call(tmp_path) as world, started(world) as line:
        await line.socket.send("x" * (64 * 1024 + 1))
        assert (await line.end()).code == 1009
        await line.socket.close()
        await trio.testing.wait_all_tasks_blocked()
        (broke,) = world.logged("the caller's line broke")
        assert (broke["code"], broke["call_sid"]) == (1009, "CA1")
        assert world.logged("call ended")[0]["call_sid"] == "CA1"


async def test_an_oversized_message_before_the_start_is_logged_too(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig_with_another_call(tmp_path) as world, world.line() as line:
        await line.socket.send("x" * (64 * 1024 + 1))
        assert (await line.end()).code == 1009
        await trio.testing.wait_all_tasks_blocked()
        call_id_in(world, "the carrier left before its stream started")


async def test_a_dialect_that_nobody_speaks_is_404(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with rig(tmp_path) as world, trio.open_nursery() as nursery:
        nursery.start_soon(partial(world.serve, far, dialects=frozenset({"twilio", "klingon"})))
        with pytest.raises(ConnectFailed) as failed:
            async with client_websocket(near, "voice.example", "/media/klingon"):
                pass
    assert (failed.value.status, failed.value.body) == (404, "no dialect is called klingon")


# --- what is kept ------------------------------------------------------------------------------------------------------


async def test_a_call_is_in_the_directory_while_it_lives_and_its_feed_leaves_out_single_frames(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        await phone.say(10)
        (live,) = world.directory
        assert live.call_sid == phone.carrier.identity.call_sid
        assert live.folder == tmp_path / live.call_id
        await phone.hang_up()
        await phone.end()
        told = [line async for line in live.follow()]
    journal = journals(tmp_path)[0].read_text("utf-8").splitlines()
    assert told == [line for line in journal if '"CallerAudio"' not in line and '"AppendAudio"' not in line]
    assert len(journal) - len(told) == 20


def test_call_ids_sort_by_time_and_cannot_be_guessed() -> None:
    moment = datetime(2026, 11, 21, 9, 30, 12, tzinfo=UTC)
    ids = {new_call_id(moment) for _ in range(100)}
    assert len(ids) == 100
    assert all(each.startswith("20261121-093012-") for each in ids)


# --- who is let in -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def guarded(tmp_path: Path, admission: Admission, path: str) -> AsyncIterator[MessageSocket]:
    """A carrier's socket to a server with this admission."""
    async with rig(tmp_path) as world:
        near, far = trio.testing.memory_stream_pair()
        answering = Answering(world.plan(), world.directory, tmp_path, world.journals, admission)
        door = FrontDoor(answering, Pages.of(no_page), trio.Event(), frozenset({"twilio"}), Limits())
        world.nursery.start_soon(door.answer, far)
        async with client_websocket(near, "voice.example", path) as socket:
            yield socket


async def test_r40_who_has_no_proof_is_refused_before_there_is_a_stream(tmp_path: Path) -> None:
    admission = Admission(access=MediaAccess.GUARDED)
    failed: list[ConnectFailed] = []
    try:
        async with guarded(tmp_path, admission, "/media/twilio"):
            raise AssertionError
    except* ConnectFailed as group:
        failed.extend(error for error in leaves(group) if isinstance(error, ConnectFailed))
    assert [error.status for error in failed] == [403]
    assert "needs a call token in its path" in failed[0].body
    assert admission.refusals == {EntryFault.NO_PROOF: 1}


async def test_r40_a_token_of_another_call_ends_the_stream_at_its_start(tmp_path: Path) -> None:
    admission = Admission(access=MediaAccess.GUARDED)
    token = admission.tokens.issue(Issuer.WEBHOOK, "CA2")
    async with guarded(tmp_path, admission, f"/media/twilio/{token}") as socket:
        await socket.send(START)
        with pytest.raises(SocketClosed) as caught:
            await socket.receive()
    assert (caught.value.code, caught.value.reason) == (1008, "this call token was made for another call")
    assert not admission.was_answered("CA1")
    assert admission.places_taken == 0


async def test_a_call_with_its_token_is_answered_and_remembered(tmp_path: Path) -> None:
    admission = Admission(access=MediaAccess.GUARDED, max_calls=1)
    token = admission.tokens.issue(Issuer.WEBHOOK, "CA1")
    async with guarded(tmp_path, admission, f"/media/twilio/{token}") as socket:
        await socket.send(START)
        await trio.testing.wait_all_tasks_blocked()
        assert admission.was_answered("CA1")
        assert admission.full


async def read_to_the_end(socket: MessageSocket) -> None:
    with suppress(SocketClosed):
        while True:
            await socket.receive()


@pytest.mark.parametrize(
    ("who", "elsewhere", "ended"), [("we", set(), 1), ("the caller", set(), 0), ("we", {"CA1"}, 0), ("we", {"CA2"}, 1)]
)
async def test_a_call_that_we_end_is_ended_at_its_carrier_too_unless_it_goes_on_there(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, who: str, elsewhere: set[str], ended: int
) -> None:
    calls: list[str] = []

    async def hang_up(started: StreamStarted) -> None:
        calls.append(started.call_sid)

    async with rig(tmp_path) as world:
        near, far = trio.testing.memory_stream_pair()
        answering = Answering(
            world.plan(), world.directory, tmp_path, world.journals, hang_up=hang_up, goes_on_elsewhere=elsewhere
        )
        door = FrontDoor(answering, Pages.of(no_page), trio.Event(), frozenset({"twilio"}), Limits())
        world.nursery.start_soon(door.answer, far)
        async with client_websocket(near, "voice.example", "/media/twilio") as socket:
            await socket.send(START)
            await trio.testing.wait_all_tasks_blocked()
            if who == "we":
                call = world.directory.named("CA1")
                assert call is not None
                assert call.hang_up("enough")
                await read_to_the_end(socket)
        await world.directory.wait_empty(60)
    assert len(calls) == ended
