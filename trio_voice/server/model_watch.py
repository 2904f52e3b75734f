"""Whether the model can be reached, found out before a caller does: at the server's start, and again and again.

Only a connection is opened (and TLS, for wss): no session, no credentials, no cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from attrs import define, field

from trio_voice.server.dial import ConnectFailed, Target, dial

log = structlog.get_logger(__name__)

LOOK_LIMIT_S = 5.0
"""How long one look may take."""


async def connect_once(target: Target) -> None:
    """Open a connection and close it. Raises ConnectFailed."""
    wire = await dial(target, None)
    await wire.aclose()


@define(eq=False)
class ModelWatch:
    """Looks every `every_s` seconds whether the model at `url` takes connections; `problem` is a sentence while it does not."""

    url: str
    every_s: float
    connect: Callable[[Target], Awaitable[None]] = connect_once
    problem: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Look until cancelled; a change is logged once."""
        while True:
            before, self.problem = self.problem, await self._look()
            if self.problem is not None and before is None:
                warning = "the model cannot be reached: callers will hear an apology; check model.url and the network"
                log.warning(warning, reason=self.problem)
            elif self.problem is None and before is not None:
                log.info("the model can be reached again")
            await trio.sleep(self.every_s)

    async def _look(self) -> str | None:
        target = Target.of(self.url)
        try:
            with trio.move_on_after(LOOK_LIMIT_S):
                await self.connect(target)
                return None
        except ConnectFailed as failed:
            return str(failed)
        return f"cannot connect to {target}: no answer within {LOOK_LIMIT_S:g} s"
