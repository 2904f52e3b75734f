"""R15, R20: thousands of overlapping calls at random, and no timer of one is ever felt in another; nothing is left after.

The calls run through the real answering, runner, outboxes and sessions, over sockets in memory. Callers speak, interrupt, fall
silent, stop reading, hang up or vanish; models answer, dawdle, fall silent, die or refuse; all of it as chance has it.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import cast

import pytest
import structlog
import trio
import trio.testing
from attrs import define, field

from tests.server.actors import Caller, Model
from tests.server.memory_socket import MemorySocket, socket_pair
from tests.server.rig import APOLOGY, QUIET, VOICE, assert_complete, errors_in, threads_at_once
from trio_voice.agent.agent import Agent
from trio_voice.core.commands import Command
from trio_voice.core.events import CallerAudio, Event
from trio_voice.core.settings import CallSettings
from trio_voice.phone.carrier import Identity
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server import answering
from trio_voice.server.answering import Answering
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.call_runner import CallRunner, Record
from trio_voice.server.directory import CallDirectory
from trio_voice.server.front_door import MediaRequest
from trio_voice.server.model import ModelEndpoint
from trio_voice.server.websocket import ConnectFailed, MessageSocket, Upgrade
from trio_voice.storage.journal_file import WRITE_EVERY_S
from trio_voice.storage.writing import Writing, writing

SETTINGS = CallSettings(
    idle_s=3.0,
    media_limit_s=5.0,
    longest_call_s=12.0,
    longest_call_notice_s=4.0,
    first_session_limit_s=2.0,
    reconnect_limit_s=2.0,
    calibration_min_frames=2,
    echo_guard=False,
)
BEGIN_WITHIN_S = 20.0
CALL_LIMIT_S = 40.0
"""No call of these settings may be longer: its 12 s, a farewell that fails, and the bounds of its end."""


# --- the calls, watched ------------------------------------------------------------------------------------------------


@define(eq=False)
class Seen:
    """What the watched calls did."""

    runners: weakref.WeakSet[CallRunner] = field(factory=weakref.WeakSet)
    over: set[str] = field(factory=set)
    begun: int = 0
    most_at_once: int = 0
    timers: Counter[str] = field(factory=Counter)
    commands: Counter[str] = field(factory=Counter)
    reasons: Counter[str] = field(factory=Counter)


def watched(seen: Seen) -> type[CallRunner]:
    """A call that checks, whenever it does something, that it is itself that does it, and that something will happen next."""

    @define(eq=False)
    class Watched(CallRunner):
        async def run(self) -> None:
            inner, began = self.record, trio.current_time()
            self.record = partial(self._check_and_record, inner)
            seen.runners.add(self)
            seen.begun += 1
            seen.most_at_once = max(seen.most_at_once, seen.begun - len(seen.over))
            try:
                await super().run()
            finally:
                seen.over.add(self.call_id)
                seen.reasons[str(self.end_reason)] += 1
                assert trio.current_time() - began <= CALL_LIMIT_S, self.end_reason
                assert self._sessions == {}

        def _check_and_record(self, inner: Record, line: str, *, frame: bool = False) -> None:
            """R15: what acts is a task of this call, while the call lives."""
            assert structlog.contextvars.get_contextvars()["call_id"] == self.call_id
            assert self.call_id not in seen.over
            inner(line, frame=frame)

        def _perform(self, commands: list[Command], now: float) -> None:
            seen.commands.update(type(command).__name__ for command in commands)
            super()._perform(commands, now)

        def _deadline_passed(self, now: float) -> None:
            deadline, timer = self.call.next_deadline(), self.call.next_timer()
            assert deadline is not None
            assert timer is not None
            assert now == pytest.approx(deadline, abs=1e-6)  # not a moment later
            seen.timers[timer.value] += 1
            super()._deadline_passed(now)

        def feed(self, event: Event) -> None:
            super().feed(event)
            self._look()

        def _work(self, frame: CallerAudio | None = None, now: float = 0.0) -> None:
            super()._work(frame, now)
            self._look()

        def _look(self) -> None:
            if self.end_reason is None and not self._working:  # R20: something will happen, and the alarm is set for it
                assert self.call.lifeline() is not None
                deadline = self.call.next_deadline()
                assert deadline is not None
                assert self._alarm_at == self._origin + deadline
                assert self._alarm_at > trio.current_time()

    return Watched


@define
class DirectRequest(MediaRequest):
    """A media request whose socket is there already."""

    socket: MessageSocket

    async def accept(self, subprotocol: str | None = None) -> MessageSocket:
        return self.socket


@define(eq=False)
class Crowd:
    """All the calls, and the two worlds around them."""

    folder: Path
    chance: Random
    nursery: trio.Nursery
    journals: Writing
    answering: Answering = field(init=False)
    sockets: list[MemorySocket] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        plan = CallPlan(
            endpoint=ModelEndpoint(url="ws://model.example", connect=self.connect),
            session=SessionSettings(instructions="Be brief.", model="test"),
            toolbox=Agent().toolbox,
            settings=SETTINGS,
            apology=APOLOGY,
        )
        self.answering = Answering(plan, CallDirectory(), self.folder, self.journals)

    def sockets_of_a_connection(self) -> tuple[MemorySocket, MemorySocket]:
        """Our end and the peer's; now and then the network takes very little."""
        ours, theirs = socket_pair(self.chance.choice([1_000_000] * 9 + [2]))
        self.sockets.append(theirs)
        return ours, theirs

    async def call(self) -> None:
        """One call, from the dialling to the last trace of the caller."""
        chance = self.chance
        await trio.sleep(chance.uniform(0, BEGIN_WITHIN_S))
        ours, theirs = self.sockets_of_a_connection()
        script = [(500 * chance.randrange(8), sound) for _ in range(chance.randrange(1, 6)) for sound in (QUIET * 5, VOICE * 5)]
        caller = Caller(theirs, script, Identity.made_up(), frame_ms=500)
        async with trio.open_nursery() as nursery:
            request = DirectRequest("twilio", "/media/twilio", {}, "memory", cast("Upgrade", None), ours)  # nothing upgraded
            nursery.start_soon(self.answering.__call__, request)
            with trio.CancelScope() as life:
                if chance.random() < 0.3:
                    nursery.start_soon(self.disturb, theirs, life, chance.uniform(0, 15))
                await caller.run()

    async def disturb(self, theirs: MemorySocket, life: trio.CancelScope, after_s: float) -> None:
        """The caller's line breaks, or the caller's end falls silent for ever, without a word."""
        await trio.sleep(after_s)
        if self.chance.random() < 0.5:
            theirs.end(1006)
        else:
            life.cancel()

    @asynccontextmanager
    async def connect(
        self, url: str, headers: Mapping[str, str], *, max_message_bytes: int, connect_timeout_s: float
    ) -> AsyncIterator[MessageSocket]:
        await trio.sleep(self.chance.expovariate(10))
        if self.chance.random() < 0.2:
            raise ConnectFailed("no luck", status=self.chance.choice([None, None, None, 503, 401]))
        ours, theirs = self.sockets_of_a_connection()
        self.nursery.start_soon(self.be_the_model, theirs)
        try:
            yield ours
        finally:
            await ours.close()

    async def be_the_model(self, theirs: MemorySocket) -> None:
        chance = self.chance
        moments = sorted(chance.randrange(500, 8000) for _ in range(2 * chance.randrange(1, 5)))
        turns = list(zip(moments[::2], moments[1::2], strict=True))
        replies = [250 * chance.randrange(8) for _ in range(4)]
        model = Model(theirs, turns, replies, chance.random() < 0.5, chance, piece_s=0.1)
        with trio.move_on_after(chance.expovariate(0.05)):  # and then it dies, or falls silent for ever
            await model.run()
        if chance.random() < 0.5:
            await theirs.close(1011)


async def many_calls(folder: Path, seed: int, count: int) -> Seen:
    """Live `count` calls; nothing may be left of them."""
    seen = Seen()
    before = trio.lowlevel.current_statistics().tasks_living
    with (
        threads_at_once(),
        pytest.MonkeyPatch.context() as patch,
        structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs,
    ):
        patch.setattr(answering, "CallRunner", watched(seen))
        async with writing(WRITE_EVERY_S) as journals, trio.open_nursery() as models, trio.open_nursery() as callers:
            crowd = Crowd(folder, Random(seed), models, journals)
            for _ in range(count):
                callers.start_soon(crowd.call)
        assert errors_in(logs) == []
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert len(crowd.answering.directory) == 0
    assert [socket for socket in crowd.sockets if socket.ended is None] == []
    assert len(seen.over) == count
    del crowd
    gc.collect()
    assert len(seen.runners) == 0
    return seen


def live_and_check(folder: Path, seed: int, count: int) -> Seen:
    seen = trio.run(many_calls, folder, seed, count, clock=trio.testing.MockClock(autojump_threshold=0))
    assert seen.most_at_once > count / 4
    journals = sorted(folder.glob("*/call.jsonl"))
    assert len(journals) == count
    for journal in journals[:: max(1, count // 50)]:
        assert_complete(journal)
    assert {"ClearPlayback", "CancelResponse", "TruncateItem", "RunTool", "HangUp"} <= seen.commands.keys()
    assert len(seen.timers) >= 8, seen.timers
    assert len(seen.reasons) >= 6, seen.reasons
    return seen


def test_r15_r20_overlapping_calls_at_random_feel_nothing_of_each_other(tmp_path: Path) -> None:
    live_and_check(tmp_path, seed=1, count=120)


@pytest.mark.prove
@pytest.mark.parametrize("seed", [2])
def test_r15_r20_two_thousand_overlapping_calls_at_random(tmp_path: Path, seed: int) -> None:
    seen = live_and_check(tmp_path, seed, count=2000)
    assert {"audio_gap", "created", "longest_call", "mark", "retry", "turn_end", "watchdog"} <= seen.timers.keys()
