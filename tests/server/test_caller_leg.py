"""The caller's leg alone: the carrier's messages in, events out; commands in, the carrier's messages out, in their order."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from attrs import define

from tests.server.memory_socket import MemorySocket, socket_pair
from tests.server.rig import QUIET, VOICE
from trio_voice.core.commands import ClearPlayback, HangUp, PlayAudio, SendMark
from trio_voice.core.events import CallerAudio, CallerHungUp, DigitPressed, Event, PlaybackMarked
from trio_voice.dialects.base import MALFORMED_LIMIT
from trio_voice.dialects.twilio import TwilioDialect
from trio_voice.server.caller_leg import LEVEL_EVERY_FRAMES, CallerLeg
from trio_voice.server.websocket import SocketClosed

START = {
    "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
    "start": {
        "accountSid": "AC1", "callSid": "CA1", "streamSid": "MZ1", "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {},
    },
}  # fmt: skip


@define(eq=False)
class Line:
    """A leg whose stream has started, and the carrier's end of its socket."""

    leg: CallerLeg
    carrier: MemorySocket
    told: list[Event]
    notes: list[str]
    over: bool = False

    async def say(self, **message: object) -> None:
        await self.carrier.send(json.dumps({"sequenceNumber": "2", "streamSid": "MZ1", **message}))
        await trio.testing.wait_all_tasks_blocked()

    async def frame(self, audio: bytes) -> None:
        media = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": b64encode(audio).decode()}
        await self.say(event="media", media=media)


@asynccontextmanager
async def a_line(capacity: int = 1000) -> AsyncIterator[Line]:
    near, carrier = socket_pair(capacity)
    dialect = TwilioDialect()
    assert dialect.decode(json.dumps(START))
    told: list[Event] = []
    notes: list[str] = []
    leg = CallerLeg(near, dialect, told.append, notes.append, lambda: line.over)
    line = Line(leg, carrier, told, notes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.leg.write)
        nursery.start_soon(line.leg.read)
        await trio.testing.wait_all_tasks_blocked()
        yield line
        line.over = True
        nursery.cancel_scope.cancel()


async def test_frames_become_audio_and_every_second_is_measured(autojump_clock: trio.testing.MockClock) -> None:
    async with a_line() as line:
        for audio in (QUIET, QUIET, VOICE, VOICE):
            await line.frame(audio)
        assert [type(event) for event in line.told] == [CallerAudio] * 4
        levels = [event.level_dbfs for event in line.told if isinstance(event, CallerAudio)]
        assert [level is None for level in levels] == [number % LEVEL_EVERY_FRAMES != 0 for number in (1, 2, 3, 4)]
        quiet, loud = (level for level in levels if level is not None)
        assert loud > quiet + 30


async def test_a_frame_of_another_length_is_measured_too_and_an_empty_one_is_none(autojump_clock: trio.testing.MockClock) -> None:
    async with a_line() as line:
        await line.frame(b"")
        assert line.told == []
        await line.frame(VOICE[:100])
        await line.frame(VOICE[:100])
        last = line.told[-1]
        assert isinstance(last, CallerAudio)
        assert last.level_dbfs is not None


async def test_marks_keys_and_the_stop_are_told(autojump_clock: trio.testing.MockClock) -> None:
    async with a_line() as line:
        await line.say(event="mark", mark={"name": "m1"})
        await line.say(event="dtmf", dtmf={"track": "inbound_track", "digit": "5"})
        await line.say(event="stop", stop={"accountSid": "AC1", "callSid": "CA1"})
        assert line.told[:2] == [PlaybackMarked("m1"), DigitPressed("5")]
        assert isinstance(line.told[2], CallerHungUp)


async def test_what_is_odd_is_noted_and_too_much_of_it_ends_the_call_with_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with a_line() as line:
        for _ in range(MALFORMED_LIMIT + 1):
            await line.carrier.send("no JSON")
        await trio.testing.wait_all_tasks_blocked()
        assert line.notes
        assert "odd" in line.notes[0]
        assert "broke its protocol" in line.notes[-1]
        assert [type(event) for event in line.told] == [CallerHungUp]
    assert line.carrier.ended is not None
    assert line.carrier.ended[0] == 1008


@pytest.mark.parametrize(("code", "noted"), [(1000, False), (1001, False), (1005, False), (1006, True), (1011, True)])
async def test_an_end_that_is_not_ordinary_is_noted(autojump_clock: trio.testing.MockClock, code: int, noted: bool) -> None:
    async with a_line() as line:
        line.carrier.end(code, "")
        await trio.testing.wait_all_tasks_blocked()
        assert line.told == [CallerHungUp(f"the caller's line was closed ({code})")]
        assert bool(line.notes) is noted


async def test_a_clear_overtakes_the_audio_that_waits_and_a_hang_up_does_not_wait_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with a_line(capacity=1) as line:
        for byte in range(3):
            line.leg.perform(PlayAudio("r", "i", bytes([byte]) * 160))
        line.leg.perform(SendMark("m"))
        assert line.leg.queued_bytes > 0
        line.leg.perform(ClearPlayback())
        line.leg.perform(HangUp("goodbye"))
        received = []
        with suppress(SocketClosed):
            while True:
                received.append(json.loads(await line.carrier.receive()))
    assert [message["event"] for message in received] == ["media", "clear"]  # the first piece had left
    assert b64decode(received[0]["media"]["payload"]) == bytes(160)
    assert line.carrier.ended == (1000, "goodbye")


async def test_a_server_that_ends_says_so_on_both_sides(autojump_clock: trio.testing.MockClock) -> None:
    near, carrier = socket_pair()
    told: list[Event] = []
    leg = CallerLeg(near, TwilioDialect(), told.append, lambda _text: None, lambda: False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leg.write)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert told == [CallerHungUp("the server is ending")]
    assert carrier.ended == (1001, "the server is ending")
