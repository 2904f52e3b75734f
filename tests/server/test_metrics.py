"""Numbers: what is measured, from when to when, and under which name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from tests.server.rig import VOICE, rig
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.server.admission import Admission, EntryFault
from trio_voice.server.call_watch import CallFacts
from trio_voice.server.directory import CallDirectory
from trio_voice.server.metrics import Backlog, CallMeter, Metrics

ROOT = Path(__file__).resolve().parents[2]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"trio_voice_{name}", labels)


def made() -> tuple[Metrics, CallMeter]:
    metrics = Metrics(CallDirectory(), Admission(max_calls=7), "1.2.3")
    metrics.show_backlog("records", Backlog(lambda: 0, lambda: ""))
    return metrics, metrics.watch(CallFacts("c1", "CA1", "twilio"))


def names(metrics: Metrics) -> set[str]:
    """Every name that Prometheus sees, but for those of the process and of creation times."""
    families = text_string_to_metric_families(metrics.page().decode())
    samples = {sample.name for family in families for sample in family.samples}
    return {name for name in samples if name.startswith("trio_voice_") and not name.endswith("_created")}


def test_r42_the_time_to_first_audio_is_from_the_callers_last_word_to_the_first_sound() -> None:
    metrics, meter = made()
    meter.on_command(0.4, c.PlayAudio("r1", "i1", b"a"))
    meter.on_command(0.5, c.PlayAudio("r1", "i1", b"a"))
    assert value(metrics, "time_to_first_audio_seconds_sum", turn="greeting") == 0.4
    meter.on_event(5.0, e.SpeechStarted(1, "u1"))
    meter.on_event(6.0, e.SpeechStopped(1, "u1"))
    meter.on_command(6.75, c.PlayAudio("r2", "i2", b"a"))
    meter.on_command(7.0, c.PlayAudio("r2", "i2", b"a"))
    assert value(metrics, "time_to_first_audio_seconds_sum", turn="reply") == 0.75
    assert value(metrics, "time_to_first_audio_seconds_count", turn="reply") == 1


def test_r42_no_sound_of_our_own_is_an_answer() -> None:
    metrics, meter = made()
    meter.on_command(0.0, c.PlayAudio(c.BEEP, c.BEEP, b"a"))
    meter.on_command(1.5, c.PlayAudio("comfort", "comfort-1500", b"a"))
    meter.on_command(2.5, c.PlayAudio("r1", "i1", b"a"))
    assert value(metrics, "time_to_first_audio_seconds_sum", turn="greeting") == 2.5
    assert value(metrics, "time_to_first_audio_seconds_count", turn="greeting") == 1


def test_r42_the_reaction_to_a_barge_in_is_from_speech_to_the_clear() -> None:
    metrics, meter = made()
    meter.on_event(5.0, e.SpeechStarted(1, "u1"))
    meter.on_command(5.25, c.ClearPlayback())
    meter.on_command(5.5, c.ClearPlayback())
    meter.on_event(8.0, e.SpeechStarted(1, "u2"))
    meter.on_event(9.0, e.SpeechStopped(1, "u2"))
    meter.on_command(9.5, c.ClearPlayback())
    assert value(metrics, "barge_in_reaction_seconds_sum") == 0.25
    assert value(metrics, "barge_in_reaction_seconds_count") == 1


def test_r42_decisions_are_counted_by_the_cores_words() -> None:
    metrics, meter = made()
    meter.on_command(1.0, c.Discard(c.Refusal.ECHO))
    meter.on_command(1.0, c.Refuse(c.Purpose.TURN, c.Refusal.GREETING_LOCK))
    meter.on_command(1.0, c.Refuse(c.Purpose.TURN, c.Refusal.RESPONSE_ACTIVE, waits=True))
    assert value(metrics, "refusals_total", kind="discard", reason="echo") == 1
    assert value(metrics, "refusals_total", kind="refuse", reason="greeting_lock") == 1
    assert value(metrics, "refusals_total", kind="wait", reason="response_active") == 1


def test_r42_what_goes_wrong_is_counted_by_its_kind() -> None:
    metrics, meter = made()
    for event in (
        e.ModelErred(1, "code of the peer", "text"), e.SessionLost(1, "reason"), e.SendFailed(1, "id"),
        e.OutboxOverran("caller"), e.FatalErrorRaised("bug"),
    ):  # fmt: skip
        meter.on_event(1.0, event)
    for kind in ("model", "session_lost", "send_failed", "caller_overran", "fatal"):
        assert value(metrics, "errors_total", kind=kind) == 1
    meter.on_event(1.0, e.ResponseDone(1, "r1", e.ResponseStatus.CANCELLED))
    meter.on_event(1.0, e.ToolCalled(1, "r1", "i1", "t1", "book", "{}"))
    assert value(metrics, "responses_total", status="cancelled") == 1
    assert value(metrics, "tool_calls_total") == 1


@pytest.mark.parametrize(
    ("happened", "ended_by"),
    [
        ([e.CallerHungUp("stop")], "caller"),
        ([c.HangUp("goodbye"), e.CallerHungUp("closed")], "us"),
        ([c.HangUp("goodbye")], "us"),
        ([e.FatalErrorRaised("bug"), c.HangUp("bug"), e.CallerHungUp("closed")], "error"),
        ([], "us"),
    ],
)
def test_r42_a_call_is_counted_by_who_ended_it(happened: list[e.Event | c.Command], ended_by: str) -> None:
    metrics, meter = made()
    for each in happened:
        if isinstance(each, e.Event):
            meter.on_event(9.0, each)
        else:
            meter.on_command(9.0, each)
    meter.on_end(12.0, "reason")
    assert value(metrics, "calls_total", dialect="twilio", ended_by=ended_by) == 1
    assert value(metrics, "call_duration_seconds_sum") == 12.0


def test_r42_refused_calls_begin_at_nought_and_are_counted() -> None:
    metrics, _ = made()
    metrics.count_refusal(EntryFault.BUSY)
    assert value(metrics, "calls_refused_total", reason="busy") == 1
    assert value(metrics, "calls_refused_total", reason="draining") == 0


def test_r42_what_calls_leave_behind_is_told_as_it_is_when_the_page_is_asked_for() -> None:
    metrics, _ = made()
    problems, waiting = [""], ["c1"]
    metrics.show_backlog("uploads", Backlog(lambda: len(waiting), lambda: problems[0]))
    found = [(value(metrics, "backlog_calls", of="uploads"), value(metrics, "backlog_failing", of="uploads"))]
    problems[0], waiting[:] = "the store is gone", ["c1", "c2"]
    found.append((value(metrics, "backlog_calls", of="uploads"), value(metrics, "backlog_failing", of="uploads")))
    assert found == [(1, 0), (2, 1)]
    assert value(metrics, "backlog_failing", of="records") == 0


async def test_r42_the_loops_lag_is_measured(mock_clock: trio.testing.MockClock) -> None:
    metrics, _ = made()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(metrics.measure_lag)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.5)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.75)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert value(metrics, "loop_lag_seconds_count") == 2
    assert value(metrics, "loop_lag_seconds_sum") == 0.25


async def test_r42_a_real_call_is_measured(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        metrics = Metrics(world.directory, Admission())
        world.watches = (metrics.watch,)
        async with world.call() as phone:
            model = await world.session(1)
            assert value(metrics, "calls_in_progress") == 1
            await phone.say(150)
            await model.hear()
            await model.answer(400)
            await phone.say(30, VOICE)
            await phone.hang_up()
            await phone.end()
        await world.directory.wait_empty(10)
    assert value(metrics, "calls_in_progress") == 0
    assert value(metrics, "calls_total", dialect="twilio", ended_by="caller") == 1
    assert value(metrics, "time_to_first_audio_seconds_count", turn="reply") == 1
    assert value(metrics, "responses_total", status="completed") == 1


def test_r42_the_dashboard_draws_what_there_is_and_nothing_else() -> None:
    metrics, meter = made()
    meter.on_end(1.0, "")
    meter.on_command(0.5, c.Discard(c.Refusal.ECHO))
    meter.on_command(0.5, c.PlayAudio("r", "i", b""))
    meter.on_event(0.5, e.FatalErrorRaised(""))
    meter.on_event(0.5, e.ResponseDone(1, "r1", e.ResponseStatus.COMPLETED))
    dashboard = (ROOT / "ops" / "grafana.json").read_text(encoding="utf-8")
    drawn = set(re.findall(r"trio_voice_\w+", "\n".join(_queries(json.loads(dashboard)))))
    assert drawn - names(metrics) == set()
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names(metrics)}
    assert families - {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in drawn} == set()


def _queries(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["expr"]] if "expr" in node else []
        return own + [each for value in node.values() for each in _queries(value)]
    return [each for value in node for each in _queries(value)] if isinstance(node, list) else []


def test_r42_the_page_of_operations_lists_every_name() -> None:
    metrics, _ = made()
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(trio_voice_\w+)`", page, re.MULTILINE))
    families = {family.name + ("_total" if family.type == "counter" else "") for family in metrics.registry.collect()}
    assert listed == {name for name in families if name.startswith("trio_voice_")}
