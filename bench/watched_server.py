"""The server, as `trio-voice serve` runs it, with a window: asked on SIGUSR1, it shows what lives in its process.

    python -m bench.watched_server [--window FOLDER] --port 8080 [any option of `trio-voice serve`]

The folder has the question, a number, and the answer, which bears it (bench/watch.py asks). On SIGUSR2 the server's event loop
stands still for 0.3 s; on SIGABRT the server ends and says in its log where each of its threads was.
"""

from __future__ import annotations

import faulthandler
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import trio
from attrs import define, field, frozen

from trio_voice.cli import main as command_line

BLOCKED_S = 0.3
QUESTION, ANSWER = "question", "answer.json"
"""Files of a window's folder; each is replaced as a whole."""


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


@frozen
class Answer:
    """What is seen in the window."""

    number: int
    """Of the question."""
    living: Living | None
    longest_pass_ms: float
    """Processor time of the longest pass of the event loop since the last answer: so long nobody else had a turn."""
    problem: str = ""
    """Why it could not be counted what lives."""


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


def put(path: Path, data: bytes) -> None:
    """Replace a file; who reads it sees the whole of the old one or of the new one."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(data)
    draft.replace(path)


@define(eq=False)
class Window(trio.abc.Instrument):
    """Shows what lives whenever somebody has asked; between two passes of the event loop."""

    folder: Path | None = None
    """None: nobody asks."""
    _asked: bool = field(default=False, init=False)
    _pass_began_s: float = field(factory=time.thread_time, init=False)
    _longest_pass_s: float = field(default=0.0, init=False)

    def before_run(self) -> None:
        """Listen to the signals, in the main thread."""
        if self.folder is not None:
            signal.signal(signal.SIGUSR1, self._ask)
        signal.signal(signal.SIGUSR2, lambda _number, _frame: time.sleep(BLOCKED_S))  # noqa: TID251 - that is the trouble
        self._pass_began_s = time.thread_time()

    def after_run(self) -> None:
        """Be deaf from here on: a question must not end a process that is about to say why it ends."""
        if self.folder is not None:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def _ask(self, _number: int, _frame: object) -> None:
        self._asked = True

    def after_io_wait(self, timeout: float) -> None:
        """A pass begins."""
        del timeout
        self._pass_began_s = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        """The event loop is about to rest."""
        del timeout
        self._longest_pass_s = max(self._longest_pass_s, time.thread_time() - self._pass_began_s)
        if self._asked and self.folder is not None:
            self._asked = False  # first: whoever asks from now on is answered in the next pass
            self._answer(self.folder)

    def _answer(self, folder: Path) -> None:
        seen, problem = None, ""
        try:
            seen = living()
        except Exception as error:
            problem = repr(error)
        longest_ms, self._longest_pass_s = round(self._longest_pass_s * 1000, 1), 0.0
        answer = Answer(int((folder / QUESTION).read_bytes()), seen, longest_ms, problem)
        put(folder / ANSWER, msgspec.json.encode(answer))


def run_with(window: Window, arguments: list[str]) -> None:
    """Start the server with the window in it."""
    plain: Callable[..., Any] = trio.run

    def watched_run(*args: Any, **options: Any) -> Any:
        return plain(*args, **(options | {"instruments": [window]}))

    setattr(trio, "run", watched_run)  # noqa: B010 - a probe, which mypy need not believe in
    command_line(["serve", *arguments])


def main(arguments: list[str]) -> None:
    """Take the window's folder off the arguments, and run."""
    faulthandler.enable()
    folder = None
    if arguments[:1] == ["--window"]:
        folder, arguments = Path(arguments[1]), arguments[2:]
    run_with(Window(folder), arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
