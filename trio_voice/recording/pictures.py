"""Pictures of calls, drawn when they are over: one at a time, in a process of its own, which leaves the calls their processor."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import structlog
import trio
from attrs import define, field

from trio_voice.errors import ConfigError, how_to_install
from trio_voice.server.directory import LiveCall
from trio_voice.storage.threads import needing_a_thread

log = structlog.get_logger(__name__)

PICTURE = "timeline.png"
MOST_WAITING = 32
DRAWING_LIMIT_S = 120.0
LAST_PICTURE_LIMIT_S = 5.0
DRAWN = (0, 1)
"""The exit codes of `replay` with which the picture is there: 1 tells of a journal that replays to something else."""


def drawing(folder: Path) -> list[str]:
    """The command that draws the call in a folder."""
    nice = shutil.which("nice")
    command = [sys.executable, "-m", "trio_voice", "replay", "--quiet", "--timeline", str(folder / PICTURE), str(folder)]
    return command if nice is None else [nice, "-n", "10", *command]


@define(eq=False)
class Pictures:
    """What waits to be drawn: folders of calls."""

    _send: trio.MemorySendChannel[Path] = field(init=False)
    _receive: trio.MemoryReceiveChannel[Path] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Path](MOST_WAITING)

    @asynccontextmanager
    async def attend(self, live: LiveCall) -> AsyncIterator[None]:
        """Have the call drawn that lives in the block, when it is over."""
        try:
            yield
        finally:
            try:
                self._send.send_nowait(live.folder)
            except trio.WouldBlock:
                log.warning("a call is not drawn: too many wait", folder=str(live.folder), waiting=MOST_WAITING)

    async def run(self) -> None:
        """Draw what waits, until nobody sends any more."""
        async for folder in self._receive:
            with trio.move_on_after(DRAWING_LIMIT_S) as scope:
                await self._draw(folder)
            if scope.cancelled_caught:
                log.warning("a call could not be drawn", folder=str(folder), error=f"it took longer than {DRAWING_LIMIT_S:g} s")

    async def _draw(self, folder: Path) -> None:
        try:
            with needing_a_thread():
                done = await trio.run_process(drawing(folder), check=False, stdout=subprocess.DEVNULL, capture_stderr=True)
        except OSError as error:  # the system gives no process, no pipe, or no thread
            log.warning("a call could not be drawn", folder=str(folder), error=error.strerror or str(error))
            return
        if done.returncode not in DRAWN:
            lines = done.stderr.decode(errors="replace").splitlines()
            log.warning("a call could not be drawn", folder=str(folder), error=lines[-1] if lines else done.returncode)

    def stop(self) -> None:
        """Draw what waits, and nothing more."""
        self._send.close()


def check_pictures() -> None:
    """Look whether what pictures take is installed. Raises ConfigError."""
    if find_spec("matplotlib") is None:
        raise ConfigError(f"recording.pictures needs matplotlib; install it with: {how_to_install('matplotlib')}")


@asynccontextmanager
async def pictures_of_calls() -> AsyncIterator[Pictures]:
    """Draw calls for the time of the block, and a little longer. Raises ConfigError when matplotlib is not installed."""
    check_pictures()
    pictures = Pictures()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pictures.run)
        try:
            yield pictures
        finally:
            pictures.stop()
            nursery.cancel_scope.deadline = trio.current_time() + LAST_PICTURE_LIMIT_S
