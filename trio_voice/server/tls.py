"""TLS over a wire: the leg to a model that is not on this machine, and, where the server has a certificate, everybody's to us.

Trio has a stream for TLS, but nothing can be sent over it without waiting. Here a frame is encrypted and handed to the network in
one go, from a plain function, as it is without TLS.

A peer may end the TCP connection without ending TLS first, as most do: a WebSocket has an end of its own, and a page its length.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

import trio
from attrs import define, field

from trio_voice.server.frames import text_frame
from trio_voice.server.poller import Want
from trio_voice.server.wire import READ_BYTES, Wire, text_of


@define(eq=False)
class TlsWire:
    """A `Wire` over another. `handshake` comes first. `host` is the server's name, for its client; None: we are the server."""

    _wire: Wire
    _context: ssl.SSLContext
    _host: str | None = None
    _incoming: ssl.MemoryBIO = field(factory=ssl.MemoryBIO, init=False)
    _outgoing: ssl.MemoryBIO = field(factory=ssl.MemoryBIO, init=False)
    _tls: ssl.SSLObject = field(init=False)
    _received: bytes = field(default=b"", init=False)
    _encrypted: bytes = field(default=b"", init=False)
    """What the network has not taken yet."""
    _agreed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        is_server = self._host is None
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, is_server, self._host)

    async def handshake(self) -> None:
        """Agree on keys; a client checks the server's certificate.

        Raises ssl.SSLError, and trio.BrokenResourceError when the connection ends before.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_encrypted()
                data = await self._wire.receive()
                if not data:
                    raise trio.BrokenResourceError("the connection ended during the TLS handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                with suppress(trio.BrokenResourceError):
                    await self._send_encrypted()  # the alert that tells the peer why
                raise
            else:
                await self._send_encrypted()
                self._agreed = True
                return

    @property
    def sends_now(self) -> bool:
        """As the wire below."""
        return self._wire.sends_now

    @property
    def unsent(self) -> bool:
        """Some of what was sent is encrypted and waits here."""
        return bool(self._encrypted) or self._outgoing.pending > 0

    def unread(self, data: bytes) -> None:
        """Put back what was read too much."""
        self._received = data + self._received

    async def receive(self) -> bytes:
        """Wait for the next bytes; b"" is the end, of TLS or of the connection."""
        if self._received:
            await trio.lowlevel.checkpoint()
            data, self._received = self._received, b""
            return data
        has_waited = False
        while (decrypted := self._decrypted()) is None:
            has_waited = True
            encrypted = await self._wire.receive()
            if not encrypted:
                return b""
            self._incoming.write(encrypted)
        if not has_waited:
            await trio.lowlevel.checkpoint()
        return decrypted

    @property
    def is_polled(self) -> bool:
        """As the wire below."""
        return self._wire.is_polled

    @property
    def holds_more(self) -> bool:
        """Something was read, decrypted or not, here or in the wire below."""
        return bool(self._received) or self._tls.pending() > 0 or self._incoming.pending > 0 or self._wire.holds_more

    def receive_now(self) -> bytes | None:
        """Read and decrypt what is there without waiting; None: nothing whole is, b"" is the end."""
        if self._received:
            data, self._received = self._received, b""
            return data
        while (decrypted := self._decrypted()) is None:
            encrypted = self._wire.receive_now()
            if not encrypted:
                return encrypted
            self._incoming.write(encrypted)
        return decrypted

    def receive_text_now(self, masked: bool, limit_bytes: int) -> str | bytes | None:
        """Read what is there as `receive_now` does. A str: it was one WebSocket frame, the text of which `whole_text` gives."""
        return text_of(self.receive_now(), masked, limit_bytes)

    async def watch(self, readable: Callable[[], Want], *, patient: bool = False) -> None:
        """As the wire below."""
        await self._wire.watch(readable, patient=patient)

    def interrupt(self) -> None:
        """Wake the task that waits in `receive`, if there is one."""
        self._wire.interrupt()

    def send_now(self, data: bytes | memoryview) -> int:
        """Encrypt and send, if nothing waits to be sent: all, of which a part may wait here then, or nothing."""
        if self.unsent:
            return 0
        self._encrypt(data)
        self._encrypted = self._outgoing.read()
        self._encrypted = self._encrypted[self._wire.send_now(self._encrypted) :]
        return len(data)

    def send_text_now(self, text: str, key: bytes) -> bytes | None:
        """Encrypt and send a frame, if nothing waits to be sent; b"": a part of it may wait here then. None: it has not begun."""
        return b"" if self.send_now(text_frame(text, key)) else None

    async def send(self, data: bytes | memoryview) -> None:
        """Encrypt and send all, with what waits from before."""
        self._encrypt(data)
        await self._send_encrypted()

    async def send_eof(self) -> None:
        """Say nothing: one cannot end one direction of TLS alone and be sure that the other still comes."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the connection at once; what comes from us is at its end, says TLS, if that can leave without waiting."""
        if self._agreed and not self.unsent:
            with suppress(ssl.SSLError):  # it wants to hear the peer say so, too
                self._tls.unwrap()
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                self._wire.send_now(self._outgoing.read())
        await self._wire.aclose()

    def _decrypted(self) -> bytes | None:
        """Decrypt what has come; None: nothing whole has, b"" is the end of TLS."""
        try:
            return self._tls.read(READ_BYTES)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS broken: {error.reason or error}") from error

    def _encrypt(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS broken: {error.reason or error}") from error

    async def _send_encrypted(self) -> None:
        encrypted, self._encrypted = self._encrypted + self._outgoing.read(), b""
        if encrypted:
            await self._wire.send(encrypted)
