"""Where traces go, if they are wanted: to an OpenTelemetry collector, in batches, from a thread that ends with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from trio_voice.errors import UserError, how_to_install
from trio_voice.server.call_watch import Watch
from trio_voice.storage.threads import in_thread

log = structlog.get_logger(__name__)

LAST_SPANS_LIMIT_S = 3.0
"""How long the last spans may take to leave when the server ends."""


def check_traces() -> None:
    """Look whether what traces take is installed. Raises UserError."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415 - an extra
        import opentelemetry.sdk.trace.export  # noqa: F401, PLC0415 - likewise, and only tried here
    except ImportError:
        packages = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
        raise UserError(f"server.traces_url needs OpenTelemetry; install it with: {how_to_install(*packages)}") from None


@asynccontextmanager
async def traces_to(url: str | None, version: str) -> AsyncIterator[tuple[Watch, ...]]:
    """Have calls traced for the time of the block; no URL: nothing is. Raises UserError when what it takes is not installed."""
    if url is None:
        yield ()
        return
    check_traces()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - likewise
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - likewise

    from trio_voice.server.traces import Traces  # noqa: PLC0415 - likewise

    provider = TracerProvider(
        resource=Resource.create({"service.name": "trio-voice", "service.version": version}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=LAST_SPANS_LIMIT_S)))
    try:
        yield (Traces(provider).watch,)
    finally:
        problem = ""
        with trio.move_on_after(LAST_SPANS_LIMIT_S * 2, shield=True) as scope:
            try:
                await in_thread(provider.shutdown)
            except OSError as error:  # there is no thread
                problem = error.strerror or str(error)
        if scope.cancelled_caught or problem:
            log.warning("the last traces could not be delivered", url=url, error=problem or "too slow")
