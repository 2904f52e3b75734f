"""A caller who sends as fast as it can, beside one who telephones, over real sockets."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.end_to_end.world import BRIEF, sentence, world
from trio_voice.phone.caller import EndedBy, Ending
from trio_voice.phone.scenario import AfterAgent, HangUp, Say
from trio_voice.server.allowance import A_SECOND, AT_ONCE, FRAME_COST
from trio_voice.server.message_socket import SocketClosed
from trio_voice.server.websocket import open_websocket
from trio_voice.server.wire import READ_BYTES

LIMIT_S = 2.0
STREAM = {"event": "start", "streamSid": "MZ9", "start": {
    "streamSid": "MZ9", "accountSid": "AC9", "callSid": "CAflood",
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}}  # fmt: skip
MEDIA = json.dumps({"event": "media", "streamSid": "MZ9", "media": {"payload": base64.b64encode(b"\xfe" * 160).decode()}})


@pytest.fixture
def fast_clock() -> MockClock:
    return MockClock(rate=4.0)


async def flood(url: str) -> tuple[SocketClosed, int]:
    """Send all that is taken, until the server has had enough; how it ended, and how many frames were sent."""
    sent = 0
    async with open_websocket(url) as line:

        async def send() -> None:
            nonlocal sent
            try:
                while True:
                    await line.send(MEDIA)
                    sent += 1
            except SocketClosed:
                return

        async with trio.open_nursery() as nursery:
            await line.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
            await line.send(json.dumps(STREAM))
            nursery.start_soon(send)
            try:
                while True:
                    await line.receive()
            except SocketClosed as closed:
                nursery.cancel_scope.cancel()
                return closed, sent


async def test_r40_a_flood_is_held_back_then_told_why_it_ends_and_the_other_call_does_not_notice(
    fast_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_voice.server.allowance.LIMIT_S", LIMIT_S)
    endings: list[Ending] = []
    async with world(tmp_path, script=BRIEF) as everything, trio.open_nursery() as nursery:

        async def telephone() -> None:
            _, ending = await everything.call([Say(sentence()), HangUp(AfterAgent())])
            endings.append(ending)

        nursery.start_soon(telephone)
        closed, sent = await flood(everything.url)
    assert closed.code == 1008
    assert closed.reason.startswith("more than twice real time")
    assert [ending.by for ending in endings] == [EndedBy.CALLER]
    journals = [path.read_text("utf-8").splitlines() for path in everything.journals()]
    (flooded,) = ([json.loads(line) for line in lines] for lines in journals if "CAflood" in lines[0])
    frames = [line["t"] for line in flooded if line.get("event") == "CallerAudio"]
    assert sum(line.get("event") == "CallerAudio" for line in flooded) < sent
    read_at_most = AT_ONCE + frames[-1] * A_SECOND + READ_BYTES * (1 + FRAME_COST / len(MEDIA))
    assert len(frames) * (len(MEDIA) + FRAME_COST) < read_at_most
    hung_up = next(line["reason"] for line in flooded if line.get("event") == "CallerHungUp")
    assert hung_up == f"the caller's line was closed (1008: {closed.reason})"
