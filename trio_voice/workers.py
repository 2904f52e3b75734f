"""Several processes on one port: `trio-voice serve --workers N`.

Python runs on one core, so a machine with four carries four times the calls with four workers. Each is a whole server of its own,
with its own calls; all listen on the same port, and the kernel gives each new connection to one of them (SO_REUSEPORT). A call
stays where it began.

The parent answers nobody. It holds the port, so that no other program takes it while a worker is away; runs the embedded model,
if that is the one; starts the workers, and starts another for each that dies, after a pause that grows while they die at once;
and passes on the signals that end them. A worker that loses its parent ends as if told to: its standard input is a pipe from it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec
import structlog
import trio
from attrs import define, field

from trio_voice.errors import UserError
from trio_voice.storage.threads import needing_a_thread

log = structlog.get_logger(__name__)

START_LIMIT_S = 30.0
"""How long a worker may take from its start to its first answer."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A worker that lived so long did not die of what it was started with: the pause begins anew."""
END_LIMIT_S = 5.0
"""How long a worker may take to end beyond the time that it gives its calls; then it is killed."""
USER_ERROR = 2
"""The exit code of a program that was asked for what it cannot do, and has said so."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of `trio-voice serve`."""

    agent: str | None = None
    file: str | None = None
    assignments: list[str] = []
    flags: dict[str, str] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: one line of JSON on its standard input."""

    number: int
    """Its number, from 1."""
    wanted: Wanted
    """What its parent was asked for."""
    port: int
    token: str
    """Of the HTTP interface; the same in all workers."""
    model_url: str | None
    """Of the embedded model, which runs in the parent; None: the settings say where the model is."""
    sockets: str
    """The folder in which the workers have their private sockets."""
    ready: int
    """The descriptor to write a byte to as soon as calls are answered."""


@define(eq=False)
class Workers:
    """The workers of one parent. `order` makes the order of a worker from its number and its ready descriptor."""

    count: int
    order: Callable[[int, int], Order]
    drain_limit_s: float
    command: tuple[str, ...] = (sys.executable, "-m", "trio_voice.worker")
    _processes: dict[int, trio.Process] = field(factory=dict, init=False)
    _told_to_end: trio.Event = field(factory=trio.Event, init=False)
    _all_ready: trio.Event = field(factory=trio.Event, init=False)
    _ready: set[int] = field(factory=set, init=False)

    @property
    def told_to_end(self) -> bool:
        """A signal has come."""
        return self._told_to_end.is_set()

    async def run(self, signals: AsyncIterator[int], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the workers until a signal ends them; started as soon as all of them answer calls.

        Raises UserError when they cannot start.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, signals)
            async with trio.open_nursery() as keepers:
                for number in range(1, self.count + 1):
                    keepers.start_soon(self._keep, number)
                with trio.move_on_after(START_LIMIT_S):
                    await self._all_ready.wait()
                if not self._all_ready.is_set():
                    raise UserError(f"the workers did not start within {START_LIMIT_S:g} s; see the log lines above")
                task_status.started()
            nursery.cancel_scope.cancel()

    async def _pass_on(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if not self._told_to_end.is_set():
                    self._told_to_end.set()
                    self._all_ready.set()  # nobody waits for a worker any more that has not started yet
                    nursery.start_soon(self._kill_who_is_late)
                for process in self._processes.values():
                    process.send_signal(number)

    async def _kill_who_is_late(self) -> None:
        await trio.sleep(self.drain_limit_s + END_LIMIT_S)
        for number, process in self._processes.items():
            log.error("a worker did not end in time and is killed", worker=number)
            process.kill()

    async def _keep(self, number: int) -> None:
        """Have worker `number` running until the end."""
        pause_s = FIRST_PAUSE_S
        while not self._told_to_end.is_set():
            began_at = trio.current_time()
            try:
                code: int | None = await self._run_one(number)
            except OSError as error:  # the system gives no process, no pipe, or no thread; later it may
                code = None
                log.warning("a worker cannot be started", worker=number, error=error.strerror or str(error))
            if self._told_to_end.is_set():
                return
            if code == USER_ERROR and not self._all_ready.is_set():
                raise UserError(f"worker {number} could not start; see the line above")
            pause_s = FIRST_PAUSE_S if trio.current_time() - began_at >= STEADY_S else pause_s
            log.error("a worker died; another takes its place", worker=number, exit_code=code, pause_s=pause_s)
            with trio.move_on_after(pause_s):
                await self._told_to_end.wait()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _run_one(self, number: int) -> int:
        """Run a process to its end; its exit code. Raises OSError when it cannot be started."""
        readable, writable = os.pipe()
        line = msgspec.json.encode(self.order(number, writable)) + b"\n"
        try:
            with needing_a_thread():
                process = await trio.lowlevel.open_process(
                    self.command,
                    stdin=subprocess.PIPE,
                    pass_fds=(writable,),
                    start_new_session=True,  # a Ctrl-C at the terminal comes to us alone, and is passed on once
                )
        except BaseException:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        self._processes[number] = process
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_until_ready, number, readable)
                assert process.stdin is not None
                with trio.move_on_after(START_LIMIT_S), suppress(trio.BrokenResourceError):  # if it has died its exit code tells
                    await process.stdin.send_all(line)
                code = await process.wait()
                nursery.cancel_scope.cancel()
            return code
        finally:
            del self._processes[number]
            with trio.CancelScope(shield=True):
                await self._end(process)

    async def _wait_until_ready(self, number: int, readable: int) -> None:
        async with trio.lowlevel.FdStream(readable) as stream:
            if await stream.receive_some(1):
                self._ready.add(number)
                log.info("worker ready", worker=number)
        if len(self._ready) == self.count:
            self._all_ready.set()

    async def _end(self, process: trio.Process) -> None:
        if process.stdin is not None:
            await process.stdin.aclose()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with trio.move_on_after(self.drain_limit_s + END_LIMIT_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
