"""The server, as `trio-voice serve` runs it, with a window: on SIGUSR1 it prints what lives in its process, as one JSON line.

On SIGUSR2 its event loop stands still for 0.3 s.

python -m bench.watched_server --port 8080 [any option of `trio-voice serve`]
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import psutil
import trio
from attrs import frozen

from trio_voice.cli import main as command_line

BLOCKED_S = 0.3


@frozen
class Living:
    """What lives in a server's process."""

    tasks: int
    timers: int
    """Cancel scopes with a deadline."""
    threads: int
    descriptors: int
    """Sockets, files and pipes."""
    resident_kb: int
    objects: int


def living() -> Living:
    """Count. To be called in the event loop's thread."""
    gc.collect()
    process = psutil.Process()
    runner = trio._core._run.GLOBAL_RUN_CONTEXT.runner  # noqa: SLF001 - a probe: the statistics do not tell the deadlines
    return Living(
        tasks=trio.lowlevel.current_statistics().tasks_living,
        timers=runner.deadlines._active,  # noqa: SLF001 - as above
        threads=threading.active_count(),
        descriptors=process.num_fds(),
        resident_kb=process.memory_info().rss // 1024,
        objects=len(gc.get_objects()),
    )


class Window(trio.abc.Instrument):
    """Shows what lives whenever somebody has asked; between two steps of the event loop."""

    def __init__(self) -> None:
        self.asked = 0
        self._shown = 0

    def before_run(self) -> None:
        """Listen to the signals, in the main thread."""
        signal.signal(signal.SIGUSR1, self._ask)
        signal.signal(signal.SIGUSR2, lambda _number, _frame: time.sleep(BLOCKED_S))  # noqa: TID251 - that is the trouble

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked += 1

    def before_io_wait(self, timeout: float) -> None:
        """The event loop is about to rest."""
        del timeout
        if self._shown < self.asked:
            self._shown += 1
            sys.stderr.write("LIVING " + msgspec.json.encode(living()).decode() + "\n")
            sys.stderr.flush()


def run_with(window: Window) -> None:
    """Start the server with the window in it."""
    plain: Callable[..., Any] = trio.run

    def watched_run(*args: Any, **options: Any) -> Any:
        return plain(*args, **(options | {"instruments": [window]}))

    setattr(trio, "run", watched_run)  # noqa: B010 - a probe, which mypy need not believe in
    command_line(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    run_with(Window())
