"""Numbers for Prometheus. The names are listed in docs/operations.md, and ops/grafana.json draws them; a test compares the three.

Each server has a registry of its own. What is asked for at each scrape (calls in progress, places, queues) is read then; the rest
is counted as it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import trio
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.server.admission import Admission, EntryFault
from trio_voice.server.call_watch import CallFacts
from trio_voice.server.directory import CallDirectory

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LAG_EVERY_S: Final = 0.5
PREFIX: Final = "trio_voice"
_TALK_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_REACTION_BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0)
_CALL_BUCKETS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)


@frozen
class Backlog:
    """Work that calls leave behind: their records, their uploads. `problem` is empty while it goes on."""

    waiting: Callable[[], int]
    problem: Callable[[], str]


@define(eq=False)
class Metrics:
    """All numbers of one server."""

    directory: CallDirectory
    admission: Admission
    version: str = "0"
    registry: CollectorRegistry = field(factory=CollectorRegistry, init=False)
    calls: Counter = field(init=False)
    duration: Histogram = field(init=False)
    refused_calls: Counter = field(init=False)
    first_audio: Histogram = field(init=False)
    barge_in: Histogram = field(init=False)
    decisions: Counter = field(init=False)
    responses: Counter = field(init=False)
    tools: Counter = field(init=False)
    errors: Counter = field(init=False)
    lag: Histogram = field(init=False)
    backlog_calls: Gauge = field(init=False)
    backlog_failing: Gauge = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.calls = self._counter("calls", "Calls that ended, by what ended them", ["dialect", "ended_by"])
        self.duration = self._histogram("call_duration_seconds", "How long calls last", _CALL_BUCKETS_S)
        self.refused_calls = self._counter("calls_refused", "Calls that were not taken", ["reason"])
        self.first_audio = self._histogram(
            "time_to_first_audio_seconds",
            "From the caller's last word (greeting: from the call's start) to the first sound of the answer",
            _TALK_BUCKETS_S,
            ["turn"],
        )
        self.barge_in = self._histogram(
            "barge_in_reaction_seconds", "From the caller's speech to the end of the agent's", _REACTION_BUCKETS_S
        )
        self.decisions = self._counter(
            "refusals", "What the call's guards refused (see docs/state-machines.md)", ["kind", "reason"]
        )
        self.responses = self._counter("responses", "Responses of the model that ended", ["status"])
        self.tools = self._counter("tool_calls", "Tools that the model asked for")
        self.errors = self._counter("errors", "What went wrong in calls", ["kind"])
        self.lag = self._histogram("loop_lag_seconds", "How late the event loop's timers are", _LAG_BUCKETS_S)
        self.backlog_calls = self._gauge("backlog_calls", "Calls that are over, and wait for the database or the store", ["of"])
        self.backlog_failing = self._gauge("backlog_failing", "1: the database, or the store, does not take them", ["of"])
        self._gauge("calls_in_progress", "Calls in progress").set_function(self.directory.__len__)
        self._gauge("call_places_taken", "Calls in progress, and call tokens that wait").set_function(
            lambda: self.admission.places_taken
        )
        self._gauge("call_places", "How many calls there may be (0: any number)").set_function(lambda: self.admission.max_calls)
        self._gauge("draining", "1: no new calls are taken").set_function(self.admission.draining.is_set)
        self._gauge("outbox_bytes", "What waits to be read by carriers").set_function(lambda: sum(self._queued()))
        self._gauge("outbox_bytes_max", "The most that waits for one carrier").set_function(
            lambda: max(self._queued(), default=0)
        )
        self._gauge("build_info", "1, with the version", ["version"]).labels(self.version).set(1)
        for fault in EntryFault:  # a series that begins at 0 shows its first event
            self.refused_calls.labels(fault.value)
        ProcessCollector(registry=self.registry)

    def count_refusal(self, fault: EntryFault) -> None:
        """A call was not taken."""
        self.refused_calls.labels(fault.value).inc()

    def show_backlog(self, of: str, backlog: Backlog) -> None:
        """Tell how much waits, whenever the page is asked for."""
        self.backlog_calls.labels(of).set_function(backlog.waiting)
        self.backlog_failing.labels(of).set_function(lambda: bool(backlog.problem()))

    def watch(self, facts: CallFacts) -> CallMeter:
        """Measure a call that begins."""
        return CallMeter(self, facts.dialect)

    def page(self) -> bytes:
        """All numbers, as Prometheus reads them."""
        return generate_latest(self.registry)

    async def own_page(self) -> bytes:
        """The same, for those who might have to wait for it."""
        await trio.lowlevel.checkpoint()
        return self.page()

    async def measure_lag(self) -> None:
        """Look again and again how late a timer is; runs until cancelled."""
        while True:
            due = trio.current_time() + LAG_EVERY_S
            await trio.sleep_until(due)
            self.lag.observe(max(0.0, trio.current_time() - due))

    def _queued(self) -> Iterable[int]:
        return [call.handle.queued_bytes() for call in self.directory if call.handle is not None]

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], labels: Iterable[str] = ()) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, registry=self.registry, buckets=tuple(buckets))


@define(eq=False)
class CallMeter:
    """Measures one call."""

    _metrics: Metrics
    _dialect: str
    _awaited_since: float | None = field(default=0.0, init=False)
    """When the caller began to wait for the agent's voice."""
    _turn: str = field(default="greeting", init=False)
    _interrupted_at: float | None = field(default=None, init=False)
    _ended_by: str | None = field(default=None, init=False)

    def on_event(self, now: float, event: e.Event) -> None:
        """Count what happened."""
        metrics = self._metrics
        match event:
            case e.SpeechStarted():
                self._interrupted_at, self._awaited_since = now, None
            case e.SpeechStopped():
                self._interrupted_at, self._awaited_since, self._turn = None, now, "reply"
            case e.ResponseDone(status=status):
                metrics.responses.labels(status.value).inc()
            case e.ToolCalled():
                metrics.tools.inc()
            case e.CallerHungUp():
                self._ended_by = self._ended_by or "caller"
            case e.FatalErrorRaised():
                self._ended_by = "error"
                metrics.errors.labels("fatal").inc()
            case e.SessionLost():
                metrics.errors.labels("session_lost").inc()
            case e.ModelErred():
                metrics.errors.labels("model").inc()
            case e.SendFailed():
                metrics.errors.labels("send_failed").inc()
            case e.OutboxOverran(leg=leg):
                metrics.errors.labels(f"{leg}_overran").inc()
            case _:
                pass

    def on_command(self, now: float, command: c.Command) -> None:
        """Count what is done."""
        match command:
            case c.PlayAudio(response_id=response_id) if response_id not in c.SOUNDS:
                if self._awaited_since is not None:
                    self._metrics.first_audio.labels(self._turn).observe(now - self._awaited_since)
                    self._awaited_since = None
            case c.ClearPlayback():
                if self._interrupted_at is not None:
                    self._metrics.barge_in.observe(now - self._interrupted_at)
                    self._interrupted_at = None
            case c.Discard(reason=reason):
                self._metrics.decisions.labels("discard", reason.value).inc()
            case c.Refuse(reason=reason, waits=waits):
                self._metrics.decisions.labels("wait" if waits else "refuse", reason.value).inc()
            case c.HangUp():
                self._ended_by = self._ended_by or "us"
            case _:
                pass

    def on_end(self, now: float, reason: str) -> None:  # noqa: ARG002 - a reason is text, and no label
        """Count the call."""
        self._metrics.calls.labels(self._dialect, self._ended_by or "us").inc()
        self._metrics.duration.observe(now)
