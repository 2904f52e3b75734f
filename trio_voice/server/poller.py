"""Many sockets behind one wait, for those that carry audio.

Trio reads a socket with a task that sleeps until it is readable: a system call to arm the socket, a switch to the task, and often
a pass of the scheduler, for each of the fifty frames that come every second on each leg of a call. Together that costs more than
all that is done with a frame. Here the sockets are registered once, in an epoll set of our own. One task sleeps until that set is
readable, and then calls a plain function for each socket that is.

Nothing of a call runs outside its nursery for that: who watches a socket waits in `watch` until the function is done with it, the
function runs in the watching task's context (log lines bear the call's id), and what it raises is raised in that task. The watch
ends with the task, cancelled or not.

A pass is bounded: by the number of sockets, and by what one function may do, so that other tasks get their turns.

To be woken for a frame costs more than to serve it. So those who can wait (the callers: a frame of theirs is twenty milliseconds
old when it comes) are served together. After a pass that served one of them, the next comes when some more frames are there (ten,
where they are gathered for the usual four milliseconds), or when a model says something: models are served at once, and who waits
is served with them. With few calls nobody waits for another.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import partial

import outcome
import structlog
import trio
from attrs import define, field

from trio_voice.server.socket_waits import SocketWait, SocketWaits
from trio_voice.server.timer_file import TimerFile

log = structlog.get_logger(__name__)

SOCKETS_AT_ONCE = 64
"""How many sockets of a kind are served between two turns of the scheduler."""
PATIENT_AT_ONCE = 16
"""So many that can wait are served between two looks at those that cannot."""
FEWEST_PATIENT = 40
"""With fewer sockets that can wait, none does: the processor has time."""
GATHERED_S = 0.004
"""For how long frames are gathered."""
LONGEST_WITH = 50
"""With more sockets that can wait, they are gathered for as much shorter: there are as many frames then."""


class Want(Enum):
    """What a function wants that has been told of its socket."""

    MORE = "more"  # to be called when the socket is readable again
    TURN = "turn"  # to be called in the next pass, whatever the socket is: it has not done all that it could
    END = "end"  # not to be called again; the task goes on


MORE, TURN, END = Want
"""The same. On the way of a frame members have names of their own: Python 3.11 takes 0.15 us to find one in its class."""


@define(eq=False)
class _Watch(SocketWait):
    readable: Callable[[], Want]
    in_context: Callable[[Callable[[], Want]], Want]
    """Runs a function in the task's context."""


@define(eq=False)
class _Sets:
    """The sockets that are served at once, those that can wait, both, and the first with a timer."""

    prompt: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - no epoll, no error before it is used
    patient: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - as above
    both: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - as above
    gathering: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - as above
    timer: TimerFile = field(factory=TimerFile, init=False)

    def __attrs_post_init__(self) -> None:
        self.gathering.register(self.timer.fileno(), select.EPOLLIN)
        self.gathering.register(self.prompt.fileno(), select.EPOLLIN)
        self.both.register(self.prompt.fileno(), select.EPOLLIN)
        self.both.register(self.patient.fileno(), select.EPOLLIN)

    def close(self) -> None:
        self.timer.close()
        self.gathering.close()
        self.both.close()
        self.prompt.close()
        self.patient.close()


@define(eq=False)
class Poller:
    """The epoll sets and who watches what in them. `run` runs beside the tasks that `watch`.

    `gathered_s`: for how long those who can wait are gathered at the most; 0.0: never.
    """

    gathered_s: float = GATHERED_S
    _sets: _Sets = field(factory=_Sets, init=False)
    _waits: SocketWaits[_Watch] = field(factory=SocketWaits, init=False)
    _patient: int = field(default=0, init=False)
    """How many of those can wait."""
    _again: list[int] = field(factory=list, init=False)
    """Sockets whose function wants another turn."""

    async def run(self) -> None:
        """Serve the watched sockets until cancelled, and let the epoll sets go."""
        try:
            while True:
                await self._wait(*self._serve_all())
        finally:
            self._sets.close()

    async def _wait(self, some_left: bool, some_patient: bool) -> None:
        """Wait until there is something to be done, after a pass that left some for the next, or served some that can wait."""
        if some_left:
            await trio.lowlevel.checkpoint()
        elif some_patient and self._patient >= FEWEST_PATIENT and self.gathered_s:
            self._sets.timer.set(self.gathered_s * min(1.0, LONGEST_WITH / self._patient))
            await trio.lowlevel.wait_readable(self._sets.gathering.fileno())
        else:
            await trio.lowlevel.wait_readable(self._sets.both.fileno())

    def _serve_all(self) -> tuple[bool, bool]:
        """Serve who wants a turn and who has something; tell whether some are left, and whether some could have waited."""
        again, self._again = self._again, []
        for fileno in again:
            self._serve(fileno)
        prompt = self._serve_the_prompt(again)
        patient = self._sets.patient.poll(0, SOCKETS_AT_ONCE)
        for place, (fileno, _) in enumerate(patient, 1):
            if fileno not in again:
                self._serve(fileno)
            if place % PATIENT_AT_ONCE == 0 and prompt < SOCKETS_AT_ONCE:
                prompt += self._serve_the_prompt(again)
        some_left = bool(self._again) or prompt >= SOCKETS_AT_ONCE or len(patient) == SOCKETS_AT_ONCE
        return some_left, bool(patient)

    def _serve_the_prompt(self, again: Sequence[int]) -> int:
        ready = self._sets.prompt.poll(0, SOCKETS_AT_ONCE)
        for fileno, _ in ready:
            if fileno not in again and fileno not in self._again:
                self._serve(fileno)
        return len(ready)

    async def watch(self, fileno: int, readable: Callable[[], Want], *, patient: bool = False) -> None:
        """Have `readable` called, in this task's context, whenever the socket is readable, until it wants the end.

        It must not wait. `patient`: it need not be called at once, but with others. What it raises is raised here. Raises
        trio.ClosedResourceError when the socket is released, or closed already, and trio.BusyResourceError when it is watched
        already.
        """
        task = trio.lowlevel.current_task()
        watch = _Watch(self._sets.patient if patient else self._sets.prompt, task, readable, task.context.run)
        self._patient += patient
        try:
            await self._waits.wait(fileno, watch)
        finally:
            self._patient -= patient

    def release(self, fileno: int) -> None:
        """End the watch over a socket, if there is one: whoever watches it gets trio.ClosedResourceError."""
        self._waits.release(fileno)

    def _serve(self, fileno: int) -> None:
        watches = self._waits.by_number
        watch = watches.get(fileno)
        if watch is None:  # ended in this very pass
            return
        try:
            wanted = watch.in_context(watch.readable)
        except BaseException as error:
            if watches.get(fileno) is watch:
                self._waits.end(fileno, outcome.Error(error))
            else:  # it has released its own socket, or cancelled its own task, which hears of that and of nothing else
                watch.task.context.run(partial(log.error, "a call's end was followed by an error", exc_info=error))
            return
        if wanted is not MORE and watches.get(fileno) is watch:
            if wanted is TURN:
                self._again.append(fileno)
            else:
                self._waits.end(fileno, outcome.Value(None))


_POLLER: ContextVar[Poller | None] = ContextVar("poller", default=None)


@contextmanager
def polling(nursery: trio.Nursery, *, gathered_s: float = GATHERED_S) -> Iterator[None]:
    """Poll for the tasks that are started in the block, where the system has epoll; the poller runs in `nursery`.

    `gathered_s`: as in `Poller`.
    The nursery must not be cancelled before those tasks have ended.
    """
    if sys.platform != "linux":
        yield
        return
    poller = Poller(gathered_s)
    nursery.start_soon(poller.run)
    token = _POLLER.set(poller)
    try:
        yield
    finally:
        _POLLER.reset(token)


def current_poller() -> Poller | None:
    """Who polls for this task; None: nobody does, and it must wait itself."""
    return _POLLER.get()
