"""Where traces go, if they are wanted: to an OpenTelemetry collector, in batches, from a thread that ends with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from trio_voice.errors import UserError
from trio_voice.server.call_watch import Watch

log = structlog.get_logger(__name__)

LAST_SPANS_LIMIT_S = 3.0
"""How long the last spans may take to leave when the server ends."""


@asynccontextmanager
async def traces_to(url: str | None, version: str) -> AsyncIterator[tuple[Watch, ...]]:
    """Have calls traced for the time of the block; no URL: nothing is. Raises UserError when what it takes is not installed."""
    if url is None:
        yield ()
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - likewise

        from trio_voice.server.traces import Traces  # noqa: PLC0415 - likewise
    except ImportError:
        raise UserError(
            "server.traces_url: traces need OpenTelemetry; install it with: pip install 'trio-voice[traces]'"
        ) from None
    provider = TracerProvider(
        resource=Resource.create({"service.name": "trio-voice", "service.version": version}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=LAST_SPANS_LIMIT_S)))
    try:
        yield (Traces(provider).watch,)
    finally:
        with trio.move_on_after(LAST_SPANS_LIMIT_S * 2, shield=True) as scope:
            await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)
        if scope.cancelled_caught:
            log.warning("the last traces could not be delivered", url=url)
