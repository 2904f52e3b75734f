"""R06, R04, R20, R27: a peer that does not read, does not answer or cannot be reached holds nothing but itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.rig import (
    QUIET,
    VOICE,
    ModelTalker,
    Network,
    Rig,
    Talker,
    assert_complete,
    audio_of,
    journals,
    rig,
    rig_with_another_call,
)
from trio_voice.audio.g711 import BYTES_PER_MS
from trio_voice.core.settings import CallSettings
from trio_voice.phone.carrier import Carrier, Identity
from trio_voice.server.websocket import CLOSE_LIMIT_S

CALIBRATED: dict[str, Any] = {"calibration_min_frames": 1}


@asynccontextmanager
async def a_slow_network(world: Rig) -> AsyncIterator[tuple[Talker, Network, Carrier]]:
    """A carrier whose stream has begun, over a network that can be frozen, and takes no more than what is read."""
    async with world.dialled(roomy=False) as (socket, network), trio.open_nursery() as nursery:
        line, carrier = Talker(socket), Carrier(Identity.made_up())
        for message in carrier.answer(trio.current_time()):
            await socket.send(message)
        for _ in range(4):
            await socket.send(carrier.speak(QUIET))
        nursery.start_soon(line.read)
        await trio.testing.wait_all_tasks_blocked()
        yield line, network, carrier
        network.thaw()
        nursery.cancel_scope.cancel()


async def answered(model: ModelTalker, ms: int, pieces: int) -> None:
    """A turn, and a reply in pieces, more than the network takes."""
    await model.hear()
    await model.expect("response.create")
    await model.begin()
    for piece in range(pieces):
        await model.speak(ms, sample=bytes([0x20 + piece]))
    await trio.testing.wait_all_tasks_blocked()


async def barge_in(model: ModelTalker) -> None:
    await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u2", audio_start_ms=1000)
    await model.expect("response.cancel")
    await trio.testing.wait_all_tasks_blocked()


async def test_r06_clear_overtakes_the_audio_that_a_slow_carrier_has_not_taken(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The first thing behind the messages that were on their way is the clear, and nothing of the old reply comes after it."""
    settings = CALIBRATED | {"echo_guard": False}
    async with rig_with_another_call(tmp_path, **settings) as world, a_slow_network(world) as (line, network, _carrier):
        model = await world.session(2)
        network.freeze()
        await answered(model, 200, pieces=20)
        await barge_in(model)
        await model.speak(200)
        await model.finish(status="cancelled")
        await trio.testing.wait_all_tasks_blocked()
        assert line.received == []
        network.thaw()
        await line.expect("clear")
        await trio.testing.wait_all_tasks_blocked()
        assert [message["event"] for message in line.received] == ["media", "mark", "clear"]  # the first two were on their way


async def test_r06_a_second_barge_in_on_the_same_reply_clears_nothing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig(tmp_path, settings=CallSettings(greeting=False, **CALIBRATED)) as world, world.call() as phone:
        model = await world.session()
        await phone.say(4)
        await answered(model, 2000, pieces=1)
        await phone.say(10, VOICE)
        await barge_in(model)
        await trio.sleep(1)
        await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u3", audio_start_ms=2000)
        await trio.testing.wait_all_tasks_blocked()
        assert phone.kinds().count("clear") == 1
        assert model.kinds().count("response.cancel") == 1
        await phone.hang_up()
    assert_complete(*journals(tmp_path))


async def test_r27_a_carrier_that_stops_reading_ends_its_call_after_the_send_limit_and_freezes_nothing_meanwhile(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig_with_another_call(tmp_path, **CALIBRATED) as world, a_slow_network(world) as (line, network, carrier):
        model = await world.session(2)
        network.freeze()
        began = trio.current_time()
        await answered(model, 200, pieces=20)
        stuck_at = trio.current_time()
        assert stuck_at - began == pytest.approx(0.15)  # turn_end_s
        await model.finish()
        await trio.sleep(5)  # stuck since long: what the caller says still reaches the model, and deadlines act
        await line.socket.send(carrier.speak(VOICE))
        while audio_of(await model.expect("input_audio_buffer.append")) != VOICE:
            pass
        await model.hear("u2")
        await model.expect("response.create")
        assert trio.current_time() - stuck_at == pytest.approx(5.15)
        await model.end()
        assert trio.current_time() - stuck_at == pytest.approx(10.0)
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.directory) == 1
    reasons = [line["reason"] for line in world.logged("call ended")]
    assert "the carrier does not read" in reasons
    for journal in journals(tmp_path):
        assert_complete(journal)


async def test_r27_a_carrier_that_is_silent_for_ever_is_let_go(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Half open: nothing comes any more, not even the answer to our Close."""
    async with rig(tmp_path, settings=CallSettings(greeting=False, idle_s=0)) as world:
        async with a_slow_network(world) as (_line, network, _carrier):
            model = await world.session()
            began = trio.current_time()
            network.freeze()
            await model.end()
            assert trio.current_time() - began == 30
            assert await world.directory.wait_empty(60)
            assert trio.current_time() - began == 30 + CLOSE_LIMIT_S
        assert world.logged("call ended")[0]["reason"] == "the carrier sends no audio"


async def test_r20_a_model_that_falls_silent_is_asked_again_and_then_replaced(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The call's alarm never sleeps while a reply is owed."""
    async with rig(tmp_path) as world, world.call() as phone, trio.open_nursery() as nursery:
        nursery.start_soon(phone.keep_quiet)
        model = await world.session()
        began = trio.current_time()
        await model.hear()
        second = await world.session(2)
        assert trio.current_time() - began < 15
        assert model.kinds().count("response.create") == 3  # the turn, and the watchdog twice
        await second.expect("response.create")
        await second.answer(300, "r9", "i9")
        await trio.sleep(1)
        assert len(phone.heard) == 300 * BYTES_PER_MS
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(tmp_path))


async def test_r04_a_cancel_that_cannot_be_sent_is_told_to_the_guard_and_the_call_goes_on(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The model stops reading, the caller barges in, and then the connection breaks with the cancel on its way."""
    settings = CallSettings(greeting=False, **CALIBRATED, echo_guard=False)
    async with rig(tmp_path, settings=settings, roomy=False) as world, world.call() as phone:
        model = await world.session()
        await phone.say(4)
        await answered(model, 2000, pieces=1)
        await phone.say(10, VOICE)
        world.model_networks[0].freeze()
        await phone.say(3, VOICE)  # more than the network takes
        await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u2", audio_start_ms=1000)
        await trio.testing.wait_all_tasks_blocked()
        assert phone.kinds()[-1] == "clear"  # it has not waited for the model
        await trio.aclose_forcefully(world.model_networks[0])
        world.model_networks[0].thaw()
        second = await world.session(2)
        await second.hear("u3")
        await second.expect("response.create")
        await second.answer(200, "r2", "i2")
        await trio.sleep(1)
        assert len(phone.heard) == (260 + 200) * BYTES_PER_MS  # until the barge-in, and the second reply
        await phone.hang_up()
    assert_complete(*journals(tmp_path))
    assert "response.cancel" not in second.kinds()
    journal = world.journal()
    assert [line["response_id"] for line in journal if line.get("command") == "CancelResponse"] == ["r1"]
    unsent = [line["event_id"] for line in journal if line.get("event") == "SendFailed"]
    assert unsent == ["cancel-r1", "truncate-i1"]


async def test_r17_a_hang_up_of_a_carrier_that_does_not_read_closes_the_line_in_any_case(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The goodbye's marks do not come, so a deadline hangs up; our Close cannot leave either, so another cuts the line."""
    settings = CallSettings(greeting=False, mark_grace_s=2.0, hang_up_limit_s=3.0)
    async with rig(tmp_path, settings=settings) as world, a_slow_network(world) as (_line, network, _carrier):
        model = await world.session()
        network.freeze()
        await answered(model, 200, pieces=2)
        began = trio.current_time()
        item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "hang_up", "arguments": "{}", "status": "completed"}
        await model.send(type="response.output_item.done", event_id="e", response_id="r1", output_index=1, item=item)
        await model.finish()
        await model.end()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - began == pytest.approx(0.2 + 2.0 + 3.0)
        assert len(world.directory) == 0
    assert_complete(*journals(tmp_path))
    assert world.said()[-5:] == ["@ mark", "< Note", "< HangUp", "@ hang_up", "< Close"]


async def test_r16_the_end_of_the_server_ends_a_call_at_once_and_its_journal_properly(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        model = await world.session()
        await answered(model, 2000, pieces=1)
        began = trio.current_time()
        world.stop_serving()
        assert (await phone.end()).code == 1001
        assert (await model.end()).code == 1000
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == began
    assert_complete(*journals(tmp_path))
    assert world.said()[-2:] == ["> CallerHungUp", "< Close"]
    assert [line["reason"] for line in world.logged("call ended")] == ["the server is ending"]
