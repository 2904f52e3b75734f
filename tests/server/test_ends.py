"""R26, R27, and the proof of the shell: whoever goes away, and whenever, the call ends and nothing of it is left.

One call with a greeting, a turn, a barge-in and a goodbye is broken off after its k-th message, for every k, in each way in which
a peer can go, on different schedules: trio's scheduler is random on purpose, and here each run has a seed of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from trio._core import _run as trio_run

from tests.server.actors import Caller, Model, Mortal
from tests.server.rig import QUIET, VOICE, Rig, assert_complete, errors_in, journals, rig
from trio_voice.core.settings import CallSettings
from trio_voice.phone.carrier import Carrier
from trio_voice.server.websocket import ConnectFailed, MessageSocket, SocketClosed, answer_websocket

SCRIPT = [(800, QUIET * 10), (400, VOICE * 10), (1000, QUIET * 10), (400, VOICE * 10), (2600, QUIET * 10)]
TURNS = [(1000, 1400), (2400, 2800)]
REPLIES = [250, 1500, 250]
SETTINGS = CallSettings(session_ready_limit_s=2.0, media_limit_s=10.0, calibration_min_frames=2, echo_guard=False)
FREEZE_S = 30.0
ENDS_WITHIN_S = 15.0


@define
class Run:
    """One call, and what became of it. `dies_after` counts the messages on the socket of the one that dies."""

    folder: Path
    dies: str = "nobody"
    dies_after: int = 0
    how: str = "close"
    messages: dict[str, int] = field(factory=lambda: {"caller": 0, "model": 0})
    sessions: int = 0
    open_sessions: int = 0
    ended_after_s: float = 0.0
    logs: list[Mapping[str, Any]] = field(factory=list)

    def run(self, seed: int) -> Run:
        """Live it on the schedule of `seed`. Nothing may be left, and nothing may have failed."""
        trio_run._r.seed(seed)
        trio.run(self.live, clock=trio.testing.MockClock(autojump_threshold=0))
        assert errors_in(self.logs) == []
        assert self.open_sessions == 0
        return self

    async def live(self) -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        async with rig(self.folder, settings=SETTINGS, model=self._be_the_model) as world:
            await self._be_the_caller(world)
            left_at = trio.current_time()
            while world.nursery.child_tasks:  # noqa: ASYNC110 - nothing tells when a nursery has become empty
                await trio.sleep(0.1)
            self.ended_after_s = trio.current_time() - left_at
            self.logs = list(world.logs)
        assert trio.lowlevel.current_statistics().tasks_living == before

    async def _be_the_caller(self, world: Rig) -> None:
        async with world.dialled() as (socket, stream):
            caller = Caller(socket, SCRIPT)
            caller.socket = mortal = self._mortal("caller", socket, stream, caller.carrier)
            await caller.run()
            self.messages["caller"] = mortal.messages

    async def _be_the_model(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.sessions += 1
        self.open_sessions += 1
        first = self.sessions == 1
        try:
            async with answer_websocket(stream) as upgrade:
                socket = await upgrade.accept()
                mortal = self._mortal("model" if first else "", socket, stream)
                await Model(mortal, TURNS, REPLIES, hangs_up=True, piece_s=0.2).run()
                if first:
                    self.messages["model"] = mortal.messages
        except* (ConnectFailed, SocketClosed):
            pass
        finally:
            self.open_sessions -= 1

    def _mortal(self, who: str, socket: MessageSocket, stream: trio.abc.Stream, carrier: Carrier | None = None) -> Mortal:
        return Mortal(socket, self.dies_after if who == self.dies else 0, partial(self._die, socket, stream, carrier))

    async def _die(self, socket: MessageSocket, stream: trio.abc.Stream, carrier: Carrier | None) -> None:
        match self.how:
            case "stop":  # and then it is our part to close
                assert carrier is not None
                for message in carrier.stop(trio.current_time()):
                    await socket.send(message)
                while True:
                    await socket.receive()
            case "close":
                await socket.close(1001)
            case "vanish":
                await trio.aclose_forcefully(stream)
            case "freeze":
                await trio.sleep(FREEZE_S)


# --- the proofs --------------------------------------------------------------------------------------------------------


def whole_call(tmp_path: Path) -> Run:
    """Nobody dies: how many messages there are to die after, and that the call is what this module says."""
    run = Run(tmp_path / "whole").run(0)
    (journal,) = journals(run.folder)
    text = journal.read_text("utf-8")
    for command in ("ClearPlayback", "CancelResponse", "TruncateItem", "RunTool", "HangUp", "Close"):
        assert f'"command":"{command}"' in text, command
    assert_complete(journal)
    return run


def check_the_record(run: Run) -> str:
    """A call that began has a whole journal, one that did not has none; returns why it ended."""
    found = journals(run.folder)
    started = [line for line in run.logs if line["event"] == "call started"]
    assert len(found) == len(started)
    if not found:
        return ""
    assert_complete(*found)
    (ended,) = [line for line in run.logs if line["event"] == "call ended"]
    assert ended["reason"]
    return str(ended["reason"])


@pytest.fixture
def any_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio's scheduler shuffles what is ready to run, from a source that a test may seed."""
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)


Case = tuple[str, int, int]
"""How somebody goes away, after which message, on the schedule of which seed."""


def all_cases(hows: Sequence[str], messages: int, seeds: int) -> list[Case]:
    return [(how, k, 1000 * seed + k) for how in hows for k in range(1, messages + 1) for seed in range(seeds)]


def callers_that_go_away(tmp_path: Path, cases: Sequence[Case]) -> None:
    for how, k, seed in cases:
        run = Run(tmp_path / f"{how}-{k}-{seed}", "caller", k, how).run(seed)
        check_the_record(run)
        assert run.ended_after_s <= ENDS_WITHIN_S, (how, k, seed)


def models_that_die(tmp_path: Path, cases: Sequence[Case]) -> None:
    for how, k, seed in cases:
        run = Run(tmp_path / f"{how}-{k}-{seed}", "model", k, how).run(seed)
        reason = check_the_record(run)
        assert reason in ("the agent ended the call", "the carrier sent stop"), (how, k, seed, reason)
        assert run.sessions <= 3, (how, k, seed)
        if how != "freeze":  # another session took over, unless the call was ending
            (journal,) = journals(run.folder)
            assert run.sessions > 1 or "HangUpAsked" in journal.read_text("utf-8"), (how, k, seed)


CALLER_HOWS = ("stop", "close", "vanish", "freeze")
MODEL_HOWS = ("close", "vanish", "freeze")


def test_r27_a_caller_who_goes_away_after_the_kth_message_leaves_nothing(tmp_path: Path, any_schedule: None) -> None:
    """Here in two of the ways for each k; the long proof has all of them."""
    cases = all_cases(CALLER_HOWS, whole_call(tmp_path).messages["caller"], seeds=1)
    callers_that_go_away(tmp_path, [case for case in cases if CALLER_HOWS.index(case[0]) % 2 == case[1] % 2])


def test_r26_a_model_that_dies_after_the_kth_message_is_survived(tmp_path: Path, any_schedule: None) -> None:
    """Here in one of the ways for each k; the long proof has all of them."""
    cases = all_cases(MODEL_HOWS, whole_call(tmp_path).messages["model"], seeds=1)
    models_that_die(tmp_path, [case for case in cases if MODEL_HOWS.index(case[0]) == case[1] % 3])


@pytest.mark.prove
def test_r27_in_every_way_on_three_schedules(tmp_path: Path, any_schedule: None) -> None:
    callers_that_go_away(tmp_path, all_cases(CALLER_HOWS, whole_call(tmp_path).messages["caller"], seeds=3))


@pytest.mark.prove
def test_r26_in_every_way_on_three_schedules(tmp_path: Path, any_schedule: None) -> None:
    models_that_die(tmp_path, all_cases(MODEL_HOWS, whole_call(tmp_path).messages["model"], seeds=3))
