"""A connection to a server: TCP, and TLS on top of it where the URL asks for it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from trio_voice.phone.tls import client_tls


async def open_stream(host: str, port: int, *, tls: bool) -> trio.abc.Stream:
    """Connect; with TLS the certificate of a server elsewhere is checked, and nothing stays open when it is refused.

    Raises OSError when nobody answers, and BrokenResourceError (whose cause tells why) when there is no TLS, or no valid one.
    """
    stream = await trio.open_tcp_stream(host, port)
    if not tls:
        return stream
    async with AsyncExitStack() as stack:
        stack.push_async_callback(trio.aclose_forcefully, stream)
        secure = trio.SSLStream(stream, client_tls(host), server_hostname=host, https_compatible=True)
        await secure.do_handshake()
        stack.pop_all()
    return secure
