"""How log lines look: one processor chain for our own events and for what libraries log, on standard error.

Context variables (a call's ids, a connection's address) are on every line that is logged within them.
"""

from __future__ import annotations

import logging
import math
import sys
from typing import TextIO

import structlog
from attrs import define, field
from structlog.typing import EventDict, Processor, WrappedLogger

from trio_voice.sections import LogFormat, LogLevel
from trio_voice.storage.printable import printable
from trio_voice.storage.redaction import Redaction

TALKATIVE = ("trio-websocket", "trio_websocket", "hpack", "h2", "httpx", "httpx2", "alembic", "boto3", "botocore", "urllib3")
"""Libraries that log every frame, every request with its whole URL, every step of their own start, or how they sign; only their
warnings are wanted."""

ACCEPTING = "trio.serve_listeners"
"""Trio's logger for connections that cannot be taken because something has run out: a traceback, ten times a second."""
CAPACITY_LOG_EVERY_S = 10.0


@define
class CapacityFilter:
    """Makes one sentence every ten seconds of what Trio says while no connection can be taken. It tries again by itself."""

    _told_at: float = field(default=-math.inf, init=False)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the first record pass, and then one every ten seconds, reworded and without its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OSError):
            return True
        if record.created - self._told_at < CAPACITY_LOG_EVERY_S:
            return False
        self._told_at = record.created
        record.msg, record.args, record.exc_info = (
            f"no new connection can be taken ({error.strerror}): it waits until others close; raise the limit (ulimit -n)",
            (),
            None,
        )
        return True


def set_up_logging(format_: LogFormat, level: LogLevel, stream: TextIO | None = None, *, redact: Redaction | None = None) -> None:
    """Send every log line to `stream` (standard error), in this format, from this level on; `redact` sees each as it leaves."""
    out = stream or sys.stderr
    number = logging.getLevelName(level.value.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.StackInfoRenderer(),
        _time_stamper(format_),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(format_, out),
                _last(redact or Redaction()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    logging.getLogger(ACCEPTING).filters = [CapacityFilter()]
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _time_stamper(format_: LogFormat) -> Processor:
    """Tell the time to machines with its date and zone, to people at a console as their clock does."""
    if format_ is LogFormat.JSON:
        return structlog.processors.TimeStamper(fmt="iso", utc=True)
    return structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False)


def _renderers(format_: LogFormat, out: TextIO) -> list[Processor]:
    if format_ is LogFormat.JSON:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The plain traceback: the default one shows the values of variables, and a log must not hold keys or payloads.
    return [_show_safely, structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]


def _last(redact: Redaction) -> Processor:
    """Redact the whole line: whatever a library or a traceback has put into it is in it now."""

    def redacted(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
        return redact(str(line))

    return redacted


def _show_safely(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write out what a terminal would obey: call ids and reasons are the peers' own words. JSON does so by itself."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
