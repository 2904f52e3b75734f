"""The service manager's side: it is told when the server is ready, that it is ending, and that its event loop turns.

Source: sd_notify(3). Datagrams go to the socket that NOTIFY_SOCKET names; without it nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog
import trio
from attrs import define, field

log = structlog.get_logger(__name__)

MICROSECONDS = 1_000_000


@define(eq=False)
class ServiceManager:
    """Who started this process, if it wants to know how the process fares."""

    address: str | None = None
    watchdog_s: float | None = None
    """How long it waits for a sign of life; None: for ever."""
    _complained: bool = field(default=False, init=False)

    @classmethod
    def found(cls, environ: Mapping[str, str], pid: int | None = None) -> ServiceManager:
        """Look in the environment."""
        address = environ.get("NOTIFY_SOCKET") or None
        if address is not None and address[0] not in "/@":
            address = None
        microseconds, meant_for = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
        is_for_us = meant_for in (None, "", str(os.getpid() if pid is None else pid))
        watchdog_s = int(microseconds) / MICROSECONDS if microseconds.isdecimal() and int(microseconds) and is_for_us else None
        return cls(address, watchdog_s)

    def ready(self, status: str) -> None:
        """Calls are answered from now on."""
        self._send(f"READY=1\nSTATUS={status}")

    def ending(self) -> None:
        """No new calls are taken; the process ends soon."""
        self._send("STOPPING=1\nSTATUS=saying goodbye")

    async def keep_alive(self) -> None:
        """Give signs of life, twice in the time that is waited for one; runs until cancelled."""
        if self.address is None or self.watchdog_s is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_s / 2)

    def _send(self, message: str) -> None:
        if self.address is None:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(message.encode(), address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("the service manager cannot be told", reason=error.strerror or str(error))
