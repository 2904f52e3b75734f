"""The opening handshake of a WebSocket (RFC 6455, section 4), both roles, without I/O, over h11. No extension is agreed on."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Mapping
from http import HTTPStatus

import h11
from attrs import define, field, frozen

from trio_voice.errors import TrioVoiceError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"
BODY_BYTES = 64 * 1024
"""How much is kept of the text with which a server refuses."""
_OF_THE_HANDSHAKE = frozenset(
    {"host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol"}
    | {"sec-websocket-extensions"}
)


class HandshakeError(TrioVoiceError):
    """The peer does not open a WebSocket as it should; `answer` is the HTTP response that tells it so (none to a server)."""

    def __init__(self, sentence: str, answer: bytes = b"") -> None:
        super().__init__(sentence)
        self.answer = answer


class HandshakeRejected(TrioVoiceError):  # noqa: N818 - a fact in the past tense, like trio.Cancelled
    """The server answered another HTTP status than 101."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


def accept_token(key: bytes) -> bytes:
    """Compute what a server answers to a client's key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _words(headers: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the words of a header that is a list."""
    return tuple(word for word in (part.strip() for part in headers.get(name, "").split(",")) if word)


def _gathered(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by their names in lower case; those that came several times as one list."""
    gathered: dict[str, str] = {}
    for key, value in headers:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        gathered[name] = f"{gathered[name]}, {text}" if name in gathered else text
    return gathered


# --- the server's side -------------------------------------------------------------------------------------------------


@frozen
class UpgradeRequest:
    """What a client wants."""

    target: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case; without those of the handshake itself."""
    subprotocols: tuple[str, ...]
    key: bytes


@define(eq=False)
class ServerHandshake:
    """Reads one request and writes one answer."""

    _http: h11.Connection = field(factory=lambda: h11.Connection(h11.SERVER), init=False)
    _request: UpgradeRequest | None = field(default=None, init=False)

    def receive(self, data: bytes | bytearray) -> UpgradeRequest | None:
        """Take bytes in (b"" is the end of the stream); None: the request is not complete. Raises HandshakeError."""
        try:
            self._http.receive_data(bytes(data))
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise self._error(error.error_status_hint, f"this is no HTTP request: {error}") from None
        if isinstance(event, h11.ConnectionClosed):
            raise HandshakeError("the stream ended before the request")
        if not isinstance(event, h11.Request):
            return None
        self._request = self._upgrade(event)
        return self._request

    def accept(self, subprotocol: str | None) -> bytes:
        """Write the answer that opens the connection."""
        assert self._request is not None
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        headers.append(("Sec-WebSocket-Accept", accept_token(self._request.key).decode()))
        if subprotocol is not None:
            headers.append(("Sec-WebSocket-Protocol", subprotocol))
        return self._http.send(h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols")) or b""

    def reject(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
        """Write the answer that refuses, with a text for people."""
        body = f"{text}\n".encode()
        fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), ("Connection", "close")]
        response = h11.Response(status_code=status, headers=[*fields, *headers], reason=_reason(status))
        parts = (response, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self._http.send(part) or b"" for part in parts)

    @property
    def trailing(self) -> bytes:
        """What came behind the request: the client's first frames."""
        return self._http.trailing_data[0]

    def _upgrade(self, request: h11.Request) -> UpgradeRequest:
        headers = _gathered(request.headers)
        key = headers.get("sec-websocket-key", "")
        if request.method != b"GET" or request.http_version != b"1.1":
            raise self._error(400, "a WebSocket is opened with GET and HTTP/1.1")
        if not headers.get("host") or not headers["host"].isascii():
            raise self._error(400, "the header Host is missing or not ASCII")
        if "websocket" not in _lower(_words(headers, "upgrade")) or "upgrade" not in _lower(_words(headers, "connection")):
            raise self._error(400, "this is no request for a WebSocket: it needs Connection: Upgrade and Upgrade: websocket")
        if headers.get("sec-websocket-version") != VERSION:
            raise self._error(426, f"only version {VERSION} of WebSocket is spoken here", (("Sec-WebSocket-Version", VERSION),))
        if not _is_key(key):
            raise self._error(400, "the header Sec-WebSocket-Key is missing, or not 16 bytes in base64")
        rest = tuple((name, value) for name, value in _each(request.headers) if name not in _OF_THE_HANDSHAKE)
        return UpgradeRequest(request.target.decode("ascii"), rest, _words(headers, "sec-websocket-protocol"), key.encode())

    def _error(self, status: int, sentence: str, headers: tuple[tuple[str, str], ...] = ()) -> HandshakeError:
        return HandshakeError(sentence, self.reject(status, sentence, headers))


def _lower(words: tuple[str, ...]) -> set[str]:
    return {word.lower() for word in words}


def _each(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


# --- the client's side -------------------------------------------------------------------------------------------------


@define(eq=False)
class ClientHandshake:
    """Writes one request and reads the answer."""

    host: str
    target: str
    headers: Mapping[str, str]
    _http: h11.Connection = field(factory=lambda: h11.Connection(h11.CLIENT), init=False)
    _key: bytes = field(factory=lambda: base64.b64encode(os.urandom(16)), init=False)
    _status: int | None = field(default=None, init=False)
    """Of an answer that refuses."""
    _body: bytearray = field(factory=bytearray, init=False)

    def request(self) -> bytes:
        """Write the request. Raises HandshakeError when the target or a header cannot be written."""
        headers = [("Host", self.host), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
        headers += [("Sec-WebSocket-Key", self._key.decode()), ("Sec-WebSocket-Version", VERSION), *self.headers.items()]
        try:
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            return self._http.send(h11.Request(method="GET", target=self.target, headers=encoded)) or b""
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise HandshakeError(f"the request cannot be written ({error})") from None

    def receive(self, data: bytes | bytearray) -> bool:
        """Take bytes in (b"" is the end of the stream); True: the connection is open, False: the answer is not complete.

        Raises HandshakeRejected, and HandshakeError when the answer is none.
        """
        try:
            self._http.receive_data(bytes(data))
            return self._read_answer()
        except h11.RemoteProtocolError as error:
            if self._status is not None:  # what was said so far is worth more than how it ended
                raise self._rejected() from None
            if not data:
                return False
            raise HandshakeError(str(error)) from None

    @property
    def trailing(self) -> bytes:
        """What came behind the answer: the server's first frames."""
        return self._http.trailing_data[0]

    def _read_answer(self) -> bool:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    self._check(_gathered(event.headers))
                    return True
            elif isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._body += event.data[: BODY_BYTES - len(self._body)]
            elif isinstance(event, h11.EndOfMessage):
                raise self._rejected()
            else:
                return False

    def _check(self, headers: Mapping[str, str]) -> None:
        """RFC 6455, section 4.1, what a client must check. Raises HandshakeError."""
        if "websocket" not in _lower(_words(headers, "upgrade")) or "upgrade" not in _lower(_words(headers, "connection")):
            raise HandshakeError("its answer 101 does not upgrade to websocket")
        if headers.get("sec-websocket-accept", "").encode("latin-1") != accept_token(self._key):
            raise HandshakeError("its answer 101 has the wrong Sec-WebSocket-Accept")
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            if name in headers:
                raise HandshakeError(f"its answer 101 has a {name.title()} that was not asked for")

    def _rejected(self) -> HandshakeRejected:
        assert self._status is not None
        return HandshakeRejected(self._status, self._body.decode(errors="replace").strip())
