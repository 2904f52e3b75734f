"""From a WebSocket URL to a connected stream, with TLS for wss; every failure is a sentence that a person can act on."""

from __future__ import annotations

import functools
import os
import socket
import ssl
from urllib.parse import urlsplit

import trio
from attrs import frozen

from trio_voice.errors import TrioVoiceError
from trio_voice.server.tls import TlsWire
from trio_voice.server.wire import Wire, wire_of
from trio_voice.storage.threads import NO_THREAD, needing_a_thread


class ConnectFailed(TrioVoiceError):  # noqa: N818 - a fact in the past tense, like trio.Cancelled
    """A connection could not be opened. `status` is the HTTP status that came instead of 101, `body` the text with it."""

    def __init__(self, sentence: str, *, status: int | None = None, body: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.body = body


@frozen
class Target:
    """Where a WebSocket URL points."""

    secure: bool
    host: str
    port: int
    resource: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Take a URL apart; raises ConnectFailed."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConnectFailed(f"{url!r} is no URL: {error}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConnectFailed(f"{url!r} is no WebSocket URL; it must look like wss://host/path")
        secure = parts.scheme == "wss"
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(secure, parts.hostname, port or (443 if secure else 80), resource)

    @property
    def authority(self) -> str:
        """Host and port as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Name the target for people; the query may hold a key and is left out."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.resource.partition('?')[0]}"


async def dial(target: Target, ssl_context: ssl.SSLContext | None) -> Wire:
    """Open the TCP connection and, for wss, TLS over it; raises ConnectFailed."""
    try:
        with needing_a_thread():
            tcp = await trio.open_tcp_stream(target.host, target.port)
    except socket.gaierror:
        raise ConnectFailed(f"cannot connect to {target}: the host name {target.host!r} cannot be resolved") from None
    except OSError as error:
        raise ConnectFailed(f"cannot connect to {target}: {_reason(error)}") from None
    wire = wire_of(tcp)
    if not target.secure:
        return wire
    tls = TlsWire(wire, ssl_context or _default_context(), target.host)
    try:
        await tls.handshake()
    except (ssl.SSLError, trio.BrokenResourceError) as error:
        await tls.aclose()
        raise ConnectFailed(f"cannot connect to {target}: {_tls_reason(error)}") from None
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await tls.aclose()
        raise
    return tls


@functools.cache
def _default_context() -> ssl.SSLContext:
    """The system's trusted certificates; loading them takes tens of milliseconds, so once for all calls."""
    return ssl.create_default_context()


def _reason(error: OSError) -> str:
    """What the system says to it; several addresses may have failed differently."""
    if error.strerror == NO_THREAD:
        return NO_THREAD
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, ExceptionGroup) else (cause or error,)
    texts = {os.strerror(each.errno) if isinstance(each, OSError) and each.errno else str(each) for each in errors}
    return ", ".join(sorted(text[:1].lower() + text[1:] for text in texts))


def _tls_reason(cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS there ({cause.reason or cause})"
    return "the server ended the connection during the TLS handshake"
