"""One of several processes that serve on one port: `python -m trio_voice.worker`, started by its parent (see `workers`).

Its first line of standard input is its order. It ends with a signal, and when standard input ends: then its parent is gone.
"""

# ruff: noqa: E402 - what must be done before the imports

from __future__ import annotations

from trio_voice.cli import make_way_for_a_server

make_way_for_a_server()

import os
import signal
import sys
from functools import partial

import msgspec
import structlog
import trio
from attrs import define

from trio_voice.config import Settings
from trio_voice.entrance import log_redaction
from trio_voice.errors import UserError
from trio_voice.logs import set_up_logging
from trio_voice.serve import leave_alone_what_is_there, raise_file_limit, run_server, the_settings
from trio_voice.workers import USER_ERROR, Order


def main() -> None:
    """Read the order, and serve."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    try:
        settings = the_settings(order.wanted)
        set_up_logging(settings.server.log_format, settings.server.log_level, redact=log_redaction(settings))
        structlog.contextvars.bind_contextvars(worker=order.number)
        raise_file_limit()
        trio.run(partial(work, settings, order))
    except* KeyboardInterrupt:  # it came before the server took over the signals
        pass
    except* UserError as group:
        sys.stderr.write(f"Error: {_first(group)}\n")
        sys.exit(USER_ERROR)


async def work(settings: Settings, order: Order, standard_input: int = 0) -> None:
    """Serve as the order says until a signal comes or standard input ends. Raises UserError."""
    send, receive = trio.open_memory_channel[int](1)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def pass_on() -> None:
            async for number in signals:
                await send.send(number)

        async def watch_the_parent() -> None:
            async with trio.lowlevel.FdStream(os.dup(standard_input)) as parent:
                while await parent.receive_some():
                    pass
            await send.send(signal.SIGTERM)

        ready = _Ready(order.ready)
        async with send, receive, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on)
            nursery.start_soon(watch_the_parent)
            await run_server(settings, say=ready, signals=receive, order=order, settled=leave_alone_what_is_there)
            nursery.cancel_scope.cancel()


@define
class _Ready:
    """Tells the parent, with the first thing that a server says, that calls are answered. The rest is the parent's to say."""

    _descriptor: int | None

    def __call__(self, _text: str) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, b"r")
            os.close(self._descriptor)
            self._descriptor = None


def _first(group: BaseExceptionGroup[UserError]) -> UserError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
