"""From settings to the two things that a server answers with: its web application, and what answers carriers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio
from attrs import evolve, field, frozen
from starlette.types import ASGIApp

from trio_voice.config import Settings
from trio_voice.console_plan import console_plan
from trio_voice.entrance import carrier_hang_up, journal_redaction, make_admission
from trio_voice.keeping import past_calls
from trio_voice.plan import call_plan
from trio_voice.realtime.providers import session_url
from trio_voice.server.admission import Admission
from trio_voice.server.answering import Answering, Witness
from trio_voice.server.directory import CallDirectory
from trio_voice.server.failed_calls import FailedCalls
from trio_voice.server.metrics import Backlog, Metrics
from trio_voice.server.model_watch import ModelWatch
from trio_voice.server.shared_metrics import SharedMetrics
from trio_voice.server.siblings import Siblings
from trio_voice.storage.journal_file import WRITE_EVERY_S
from trio_voice.storage.writing import Writing
from trio_voice.tracing import traces_to
from trio_voice.web.app import Dependencies, create_app
from trio_voice.web.start_page import About

METRICS_FOLDER = ".metrics"
"""Where several workers tell each other their numbers, in the calls folder."""


@frozen(kw_only=True)
class Ground:
    """What is known before a server is put together."""

    settings: Settings
    about: About
    base_url: str
    """The model's."""
    token: str = field(repr=False)
    """The API's."""
    media_base: str
    """Where carriers' streams connect: scheme and host."""
    siblings: Siblings | None
    """The other workers; None: this is the only process."""
    witnesses: Sequence[Witness] = ()
    backlogs: Mapping[str, Backlog] = field(factory=dict)


@frozen(kw_only=True)
class Assembly:
    """A server, put together."""

    app: ASGIApp
    own_app: ASGIApp
    """The same without the other workers' calls: what they are answered."""
    answering: Answering
    admission: Admission
    metrics: Metrics


async def assemble(
    ground: Ground, directory: CallDirectory, draining: trio.Event, nursery: trio.Nursery, stack: AsyncExitStack
) -> Assembly:
    """Put a server together. What it does in the background runs in `nursery`; what it holds is let go with `stack`."""
    settings, version = ground.settings, ground.about.version
    admission = make_admission(settings, api_token=ground.token, draining=draining)
    metrics = Metrics(directory, admission, version)
    admission.on_refusal = metrics.count_refusal
    nursery.start_soon(metrics.measure_lag)
    for name, backlog in ground.backlogs.items():
        metrics.show_backlog(name, backlog)
    metrics_page = metrics.own_page
    if ground.siblings is not None:
        shared = SharedMetrics(metrics, ground.siblings.number, settings.server.calls_folder / METRICS_FOLDER)
        nursery.start_soon(shared.run)
        metrics_page = shared.page
    watch = ModelWatch(session_url(ground.base_url, settings.model.name), settings.model.check_every_s)
    if settings.access.base_url is not None:  # the embedded model is this process, or our parent
        nursery.start_soon(watch.run)
    traces = await stack.enter_async_context(traces_to(settings.server.traces_url, version))
    failed = FailedCalls(admission.tokens.used_folder)
    dependencies = Dependencies(
        about=ground.about,
        directory=directory,
        token=ground.token,
        draining=draining,
        problem=partial(_problem, watch),
        show_numbers=settings.server.show_numbers,
        admission=admission,
        metrics_page=metrics_page,
        agents=settings.agents,
        past_calls=await stack.enter_async_context(past_calls(settings)),
        media_base=ground.media_base,
        sorry=settings.twilio.sorry,
        transfer_to=settings.twilio.transfer_to,
        failed=failed,
        console=console_plan(settings),
    )
    own_app = create_app(dependencies)
    app = own_app if ground.siblings is None else create_app(evolve(dependencies, siblings=ground.siblings))
    journals = Writing(WRITE_EVERY_S)
    nursery.start_soon(journals.run)
    answering = Answering(
        evolve(call_plan(settings, ground.base_url, version), watches=(metrics.watch, failed.watch, *traces)),
        directory,
        settings.server.calls_folder,
        journals,
        admission,
        await stack.enter_async_context(carrier_hang_up(settings)),
        journal_redaction(settings, ground.token),
        witnesses=ground.witnesses,
        goes_on_elsewhere=failed if settings.twilio.transfer_to is not None else frozenset(),
    )
    return Assembly(app=app, own_app=own_app, answering=answering, admission=admission, metrics=metrics)


def _problem(watch: ModelWatch) -> str | None:
    return watch.problem
