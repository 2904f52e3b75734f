"""Asks a watched server (bench/watched_server.py) what lives in it, and finds out what became of one that does not answer."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec
import trio
from attrs import define, field

from bench.processes import Measured
from bench.watched_server import ANSWER, QUESTION, Answer, Living, put

LOOK_LIMIT_S = 30.0
LOOK_EVERY_S = 0.02
LAST_WORDS_LIMIT_S = 5.0
LAST_LINES = 60


@define(eq=False)
class Watch:
    """A server's process, seen through its window."""

    process: Measured
    folder: Path
    """The window's."""
    log: Path
    limit_s: float = LOOK_LIMIT_S
    longest_pass_ms: float = field(default=0.0, init=False)
    """Processor time of the longest pass of the server's event loop."""
    _number: int = field(default=0, init=False)

    async def look(self) -> Living:
        """What lives there now. It may be cancelled. Raises RuntimeError, with the log's end, when the server does not say it.

        A server that still runs then is ended by a signal that makes it say where each of its threads was.
        """
        self._number += 1
        put(self.folder / QUESTION, b"%d" % self._number)
        self.process.process.send_signal(signal.SIGUSR1)
        for _ in range(round(self.limit_s / LOOK_EVERY_S)):  # counted: if the whole machine stood still nobody is late
            answer = self._answer()
            if answer is not None:
                return self._seen(answer)
            if self.process.process.returncode is not None:
                break
            await trio.sleep(LOOK_EVERY_S)
        raise RuntimeError(await self._last_words())

    def complaints(self) -> list[str]:
        """What is in the log: of a server that logs nothing but errors."""
        return [line for line in self._log_lines() if line.strip()]

    def _answer(self) -> Answer | None:
        try:
            answer = msgspec.json.decode((self.folder / ANSWER).read_bytes(), type=Answer)
        except FileNotFoundError:
            return None
        return answer if answer.number == self._number else None

    def _seen(self, answer: Answer) -> Living:
        if answer.living is None:
            raise RuntimeError(f"what lives in the server could not be counted: {answer.problem}")
        self.longest_pass_ms = max(self.longest_pass_ms, answer.longest_pass_ms)
        return answer.living

    async def _last_words(self) -> str:
        process, state = self.process.process, "still runs"
        if process.returncode is None:
            process.send_signal(signal.SIGABRT)
            with trio.move_on_after(LAST_WORDS_LIMIT_S):
                await process.wait()
        else:
            state = f"ended with {process.returncode}"
        head = f"the server, which {state}, did not show what lives in it; its log ends:"
        return "\n".join([head, *self._log_lines()[-LAST_LINES:]])

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()
