"""Whole calls over real WebSocket framing on memory streams, under a virtual clock: times are compared for equality."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import wrap_server_stream

from tests.phone.fake_server import TONE, FakeServer, serving
from trio_voice.audio.g711 import FRAME_BYTES, ulaw_silence
from trio_voice.phone.caller import CallRefusedError, EndedBy, PhoneCall
from trio_voice.phone.carrier import Happening, Identity
from trio_voice.phone.scenario import AfterAgent, At, HangUp, Press, Say, Scenario
from trio_voice.phone.voice import Speech

HELLO = Speech(b"h" * 320, "hello", 0, 40)
SILENT = Scenario([HangUp(At(1.0))], noise_dbfs=None)


async def listen(server: FakeServer) -> None:
    """A server that says nothing."""


def at(seconds: float, stream_time: float) -> object:
    return pytest.approx(stream_time + seconds, abs=1e-9)


async def test_a_call_sends_a_frame_every_20_ms_on_absolute_deadlines(autojump_clock: MockClock) -> None:
    async with serving(listen) as (stream, servers), PhoneCall.over(stream, SILENT, identity=Identity("A", "C", "M")) as call:
        ending = await call.finished()
    (server,) = servers
    begin = call.carrier.answered_at
    assert [message["event"] for _, message in server.received[:3]] == ["connected", "start", "media"]
    assert server.of("start")[0]["start"]["callSid"] == "C"
    assert server.times_of("media") == [at((number + 1) * 0.02, begin) for number in range(51)]
    assert [int(message["sequenceNumber"]) for _, message in server.received[1:]] == list(range(1, 54))
    assert server.received[-1][1]["event"] == "stop"
    assert (ending.by, ending.code) == (EndedBy.CALLER, 1000)
    assert ending.at_s == pytest.approx(1.02)
    assert len(call.carrier.heard) == len(call.carrier.said) == 51 * FRAME_BYTES
    assert call.lag_max_s == 0
    assert server.closed is not None
    assert server.closed.reason is not None
    assert server.closed.reason.code == 1000


async def test_the_answer_is_heard_its_marks_are_echoed_in_time_and_the_caller_speaks_after_it(autojump_clock: MockClock) -> None:
    async def greet(server: FakeServer) -> None:
        await trio.sleep(0.5)
        await server.play(TONE * 10 + TONE[:8])
        await server.mark("greeting")

    scenario = Scenario([Say(HELLO, AfterAgent(pause_s=0.1)), HangUp(At(2))], noise_dbfs=None)
    async with serving(greet) as (stream, servers), PhoneCall.over(stream, scenario) as call:
        await call.finished()
    begin = call.carrier.answered_at
    assert servers[0].times_of("mark") == [at(0.701, begin)]
    assert call.carrier.heard[:5600] == ulaw_silence(500) + TONE * 10
    assert call.carrier.heard[5600:5608] == TONE[:8]
    assert set(call.carrier.heard[5608:]) == {0xFF}
    assert call.carrier.said.index(b"h" * 160) / 8000 == 0.82  # sound until the frame that ends at 0.72, and the pause
    assert call.carrier.warnings == []


async def test_clear_is_heard_at_once(autojump_clock: MockClock) -> None:
    async def interrupt(server: FakeServer) -> None:
        await server.play(TONE * 100)
        await server.mark("m1")
        await trio.sleep(0.333)
        await server.clear()

    async with serving(interrupt) as (stream, servers), PhoneCall.over(stream, SILENT) as call:
        await call.finished()
    assert servers[0].times_of("mark") == [at(0.333, call.carrier.answered_at)]
    assert call.carrier.heard.rstrip(b"\xff") == (TONE * 17)[: 333 * 8]
    assert [event.what for event in call.carrier.events if event.what.value.startswith(("mark", "cl"))] == [
        Happening.MARK_QUEUED,
        Happening.CLEARED,
        Happening.MARK_FLUSHED,
        Happening.CLOSED,
    ]


async def test_keys_are_sent_where_the_scenario_wants_them(autojump_clock: MockClock) -> None:
    async with serving(listen) as (stream, servers):
        async with PhoneCall.over(stream, Scenario([Press("42", At(0.1)), HangUp(At(0.5))])) as call:
            await call.finished()
        assert [message["dtmf"]["digit"] for message in servers[0].of("dtmf")] == ["4", "2"]
        assert servers[0].times_of("dtmf") == [at(0.12, call.carrier.answered_at), at(0.32, call.carrier.answered_at)]


async def test_the_server_ends_the_call(autojump_clock: MockClock) -> None:
    async def goodbye(server: FakeServer) -> None:
        await server.play(TONE * 50)
        await trio.sleep(0.5)
        await server.socket.aclose(1000, "done")

    async with serving(goodbye) as (stream, servers), PhoneCall.over(stream, Scenario()) as call:
        ending = await call.finished()
        assert trio.current_time() == at(0.5, call.carrier.answered_at)
    assert (ending.by, ending.at_s, ending.code, ending.reason) == (EndedBy.SERVER, 0.5, 1000, "done")
    assert len(call.carrier.heard) == 4000
    assert servers[0].of("stop") == []
    assert call.carrier.events[-1].detail == "by the server, code 1000: done"


async def test_a_lost_line_ends_the_call(autojump_clock: MockClock) -> None:
    async def crash(server: FakeServer) -> None:
        await trio.sleep(0.2)
        await trio.aclose_forcefully(server.socket._stream)

    async with serving(crash) as (stream, _), PhoneCall.over(stream, Scenario()) as call:
        ending = await call.finished()
    assert (ending.by, ending.code) == (EndedBy.LINE, 1006)
    assert ending.at_s == 0.2


async def test_leaving_the_block_hangs_up(autojump_clock: MockClock) -> None:
    async with serving(listen) as (stream, servers):
        async with PhoneCall.over(stream, Scenario()) as call:
            await trio.sleep(0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert servers[0].received[-1][1]["event"] == "stop"
        assert call.ending is not None
        assert call.ending.by is EndedBy.CALLER


async def test_a_cancelled_block_still_says_goodbye(autojump_clock: MockClock) -> None:
    async with serving(listen) as (stream, servers):
        with trio.move_on_after(0.1):
            async with PhoneCall.over(stream, Scenario()) as call:
                await trio.sleep_forever()
        await trio.testing.wait_all_tasks_blocked()
        assert call.ending is not None
        assert servers[0].received[-1][1]["event"] == "stop"
        assert servers[0].closed is not None


async def test_an_error_in_the_block_comes_out_as_it_was_raised(autojump_clock: MockClock) -> None:
    async with serving(listen) as (stream, servers):
        with pytest.raises(KeyError, match="mine"):
            async with PhoneCall.over(stream, Scenario()):
                raise KeyError("mine")
        await trio.testing.wait_all_tasks_blocked()
        assert servers[0].received[-1][1]["event"] == "stop"


async def test_a_server_that_does_not_read_is_hung_up_on_within_bounds(autojump_clock: MockClock) -> None:
    phone_end, server_end = trio.testing.lockstep_stream_pair()

    async def upgrade_and_sleep() -> None:
        async with trio.open_nursery() as connection:
            request = await wrap_server_stream(connection, server_end, message_queue_size=0)
            await request.accept()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upgrade_and_sleep)
        async with PhoneCall.over(phone_end, Scenario(hang_up_at_s=1.0)) as call:
            await call.finished()
            assert trio.current_time() == at(1.02 + 2.0, call.carrier.answered_at)
        nursery.cancel_scope.cancel()


async def test_a_server_that_never_reads_a_long_call_is_given_up(autojump_clock: MockClock) -> None:
    phone_end, server_end = trio.testing.lockstep_stream_pair()

    async def upgrade_and_sleep() -> None:
        async with trio.open_nursery() as connection:
            request = await wrap_server_stream(connection, server_end, message_queue_size=0)
            await request.accept()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upgrade_and_sleep)
        async with PhoneCall.over(phone_end, Scenario([HangUp(At(1000))], limit_s=1000)) as call:
            ending = await call.finished()
        assert ending.at_s == pytest.approx(5000 * 0.02, abs=0.1)
        assert "does not read" in next(event.detail for event in call.carrier.events if event.what is Happening.WARNING)
        nursery.cancel_scope.cancel()


async def test_a_stall_is_made_up_for_frame_by_frame(autojump_clock: MockClock) -> None:
    async with serving(listen) as (stream, servers), PhoneCall.over(stream, SILENT) as call:
        await trio.sleep(0.11)
        autojump_clock.jump(0.29)  # as when the machine slept
        await trio.testing.wait_all_tasks_blocked()
        begin = call.carrier.answered_at
        assert servers[0].times_of("media") == [at((number + 1) * 0.02, begin) for number in range(5)] + [at(0.4, begin)] * 15
        await trio.sleep(0.03)
        assert servers[0].times_of("media")[-1] == at(0.42, begin)
    assert call.lag_max_s == pytest.approx(0.28)
    assert [int(message["media"]["timestamp"]) for message in servers[0].of("media")] == list(range(0, 420, 20))


async def test_what_happens_on_the_line_can_be_followed(autojump_clock: MockClock) -> None:
    async def greet(server: FakeServer) -> None:
        await server.play(TONE * 2)
        await server.mark("m1")
        await server.socket.send_message("nonsense")

    async with serving(greet) as (stream, _), PhoneCall.over(stream, SILENT) as call:
        told = [event.what async for event in call.events()]
    assert told == [
        Happening.ANSWERED,
        Happening.MARK_QUEUED,
        Happening.WARNING,
        Happening.AGENT_HEARD,
        Happening.MARK_PLAYED,
        Happening.AGENT_SILENT,
        Happening.STOPPED,
        Happening.CLOSED,
    ]
    assert [warning.code for warning in call.carrier.warnings] == [31951]


async def test_a_refused_upgrade_is_one_clear_line(autojump_clock: MockClock) -> None:
    async with serving(listen, status=404) as (stream, _):
        with pytest.raises(CallRefusedError) as refused:
            async with PhoneCall.over(stream, Scenario(), host="example.com", path="/nowhere"):
                pytest.fail("there is no call")
    assert str(refused.value) == ("example.com/nowhere: the server refused the call with HTTP status 404 (no such path)")
    assert refused.value.status == 404


async def test_a_server_that_does_not_answer_the_upgrade_is_given_up(autojump_clock: MockClock) -> None:
    phone_end, _server_end = memory_stream_pair()
    with pytest.raises(CallRefusedError, match="no answer to the WebSocket upgrade within 10 s"):
        async with PhoneCall.over(phone_end, Scenario()):
            pytest.fail("there is no call")
    assert trio.current_time() == 10


@pytest.mark.parametrize("url", ["http://127.0.0.1/media", "127.0.0.1:8080", "ws://", "ws://host:port/"])
async def test_what_is_no_media_url_is_said_so(url: str) -> None:
    with pytest.raises(CallRefusedError, match="URL"):
        async with PhoneCall.place(url, Scenario()):
            pytest.fail("there is no call")


async def test_many_calls_run_in_one_process(autojump_clock: MockClock) -> None:
    async def echo(server: FakeServer) -> None:
        await server.play(TONE * 20)
        await server.mark("m")

    async def one_call(scenario: Scenario) -> None:
        async with serving(echo) as (stream, servers), PhoneCall.over(stream, scenario) as call:
            await call.finished()
        assert servers[0].times_of("mark") == [at(0.4, call.carrier.answered_at)]
        assert len(servers[0].of("media")) == 51

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one_call, SILENT)
