"""Calls through real sockets: the telephone, the server, the embedded Realtime server."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.end_to_end.world import BRIEF, lateness_ms, named, sentence, world
from trio_voice.core.settings import CallSettings
from trio_voice.phone.caller import EndedBy
from trio_voice.phone.carrier import Happening
from trio_voice.phone.scenario import AfterAgent, DuringAgent, HangUp, Say, Step


@pytest.fixture
def fast_clock() -> MockClock:
    return MockClock(rate=4.0)


async def test_a_caller_is_greeted_heard_and_answered(fast_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path, script=BRIEF) as everything:
        call, ending = await everything.call([Say(sentence()), Say(sentence()), HangUp(AfterAgent())])
        lines = everything.journal()
    assert ending.by is EndedBy.CALLER
    assert call.carrier.warnings == []
    purposes = [line["purpose"] for line in named(lines, "CreateResponse")]
    assert purposes == ["greeting", "turn", "turn"]
    assert len(named(lines, "TurnCommitted")) == 2
    assert [line["status"] for line in named(lines, "ResponseDone")] == ["completed"] * 3
    assert not named(lines, "CancelResponse")
    assert not named(lines, "TruncateItem")  # every reply was heard to its end
    assert named(lines, "Close")[0]["t"] == lines[-1]["t"]
    heard = [event for event in call.carrier.events if event.what is Happening.AGENT_HEARD]
    assert len(heard) >= 3


async def test_a_barge_in_silences_the_agent_and_cuts_its_memory_where_the_caller_stopped_hearing(
    fast_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as everything:
        steps: list[Step] = [Say(sentence()), Say(sentence(), DuringAgent(2.0)), HangUp(AfterAgent())]
        call, _ = await everything.call(steps)
        lines = everything.journal()
    (clear,) = named(lines, "ClearPlayback")
    (truncate,) = named(lines, "TruncateItem")
    assert truncate["t"] == clear["t"]
    assert len(named(lines, "CancelResponse")) <= 1
    assert not named(lines, "ModelErred")
    assert call.carrier.warnings == []

    (cleared,) = [event.at_s for event in call.carrier.events if event.what is Happening.CLEARED]
    began = [event.at_s for event in call.carrier.events if event.what is Happening.AGENT_HEARD and event.at_s < cleared][-1]
    heard_ms = (cleared - began) * 1000
    assert abs(truncate["heard_ms"] - heard_ms) <= 40 + lateness_ms(call)  # 40: the issue's own bound

    quiet_s = next(line["t"] for line in named(lines, "PlayAudio") if line["t"] > clear["t"]) - clear["t"]
    until_s = cleared + quiet_s - 0.1 - lateness_ms(call) / 1000  # two clocks: 0.1 s
    assert quiet_s > 1.5
    assert set(call.carrier.heard[round(cleared * 8000) : round(until_s * 8000)]) <= {0xFF}  # no sample of the old reply


async def test_the_agent_ends_the_call_when_its_goodbye_has_been_heard(fast_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path, script=BRIEF) as everything:
        steps: list[Step] = [Say(sentence()), Say(sentence()), Say(sentence()), HangUp(AfterAgent(pause_s=30.0, limit_s=60.0))]
        call, ending = await everything.call(steps)
        lines = everything.journal()
    assert ending.by is EndedBy.SERVER
    assert ending.code == 1000
    (hang_up,) = named(lines, "HangUp")
    done = named(lines, "ResponseDone")[-1]
    assert hang_up["t"] > done["t"]  # the goodbye was generated long before it was heard
    played = [event for event in call.carrier.events if event.what is Happening.MARK_PLAYED]
    queued = [event for event in call.carrier.events if event.what is Happening.MARK_QUEUED]
    assert len(played) == len(queued)


async def test_a_caller_who_hangs_up_in_mid_reply_ends_the_call_at_once(fast_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as everything:
        _, ending = await everything.call([Say(sentence()), HangUp(DuringAgent(1.0))])
        lines = everything.journal()
    assert ending.by is EndedBy.CALLER
    assert named(lines, "CallerHungUp")[0]["t"] == named(lines, "Close")[0]["t"] == lines[-1]["t"]
    assert not named(lines, "HangUp")


async def test_an_idle_caller_is_asked_and_then_let_go(fast_clock: MockClock, tmp_path: Path) -> None:
    settings = CallSettings(idle_s=3.0, idle_prompts=1)
    async with world(tmp_path, settings=settings) as everything:
        _, ending = await everything.call([HangUp(AfterAgent(pause_s=60.0, limit_s=60.0))])
        lines = everything.journal()
    assert ending.by is EndedBy.SERVER
    assert [line["purpose"] for line in named(lines, "CreateResponse")] == ["greeting", "idle_prompt", "farewell"]
    assert named(lines, "HangUp")[0]["reason"] == "the caller is silent"
