"""WebSocket framing of a server (RFC 6455), without I/O: bytes in, messages out, and the bytes of what is sent.

It is here, and not a library's, for two reasons: load tests hold hundreds of sessions, each with fifty messages a second, in one
process; and a server that is to misbehave on request (no CLOSE, a CLOSE that no library lets one send) has to own its frames.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

from attrs import define, field, frozen

from trio_voice.errors import RemoteProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # it was installed where nothing could compile it: the library's own, in Python
    from websockets.utils import apply_mask

LONGEST_CONTROL_BYTES = 125
_SHORT_BYTES = 2048
_DEFLATE_END = b"\x00\x00\xff\xff"


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@define
class FrameError(RemoteProtocolError):
    """The peer broke the framing; the connection is to be closed with this code."""

    code: int
    reason: str


@frozen
class Ping:
    """The peer wants a PONG with the same payload."""

    payload: bytes


@frozen
class Pong:
    """The peer answered a PING."""

    payload: bytes


@frozen
class Closed:
    """The peer's CLOSE; `code` is 1005 when it gave none."""

    code: int
    reason: str


Incoming = str | bytes | Ping | Pong | Closed


def encode_frame(opcode: Opcode, payload: bytes, *, compressed: bool = False) -> bytes:
    """Return one whole, unmasked frame, as a server sends it."""
    first = 0x80 | (0x40 if compressed else 0) | opcode
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first, length) + payload
    if length < 65536:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload


def encode_close(code: int, reason: str) -> bytes:
    """Return a CLOSE frame; a reason that is too long is cut."""
    text = reason.encode()[: LONGEST_CONTROL_BYTES - 2].decode(errors="ignore")
    return encode_frame(Opcode.CLOSE, struct.pack("!H", code) + text.encode())


def mask(payload: bytes, key: bytes) -> bytes:
    """Apply a masking key (and take it off again): every byte XOR the key's, in turn."""
    return apply_mask(payload, key)


def deflate(payload: bytes) -> bytes:
    """Compress a message for permessage-deflate (RFC 7692), without context takeover."""
    squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = squeezed.compress(payload) + squeezed.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(_DEFLATE_END)


@frozen
class _Header:
    final: bool
    compressed: bool
    opcode: Opcode
    key: bytes
    start: int
    length: int


@define
class FrameReader:
    """Reads a client's frames. `limit_bytes` bounds a message (after decompression), and with it the memory."""

    limit_bytes: int
    deflated: bool = False
    """permessage-deflate was agreed upon."""
    _buffer: bytearray = field(factory=bytearray, init=False)
    _parts: list[bytes] = field(factory=list, init=False)
    _parts_bytes: int = field(default=0, init=False)
    _opcode: Opcode | None = field(default=None, init=False)  # of the message in progress
    _compressed: bool = field(default=False, init=False)

    @property
    def between_messages(self) -> bool:
        """Nothing of a message has come that is not complete."""
        return not self._buffer and self._opcode is None

    def feed(self, data: bytes) -> list[Incoming]:
        """Take bytes in and return what is complete. Raises FrameError; nothing can be read after that."""
        incoming: list[Incoming] = []
        if self.between_messages and self.limit_bytes >= _SHORT_BYTES:
            end = _short_texts(data, incoming)  # by far the most frequent: short text frames, and nothing else
            if end == len(data):
                return incoming
            data = data[end:]
        self._buffer += data
        while (header := self._header()) is not None:
            end = header.start + header.length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                payload = mask(bytes(view[header.start : end]), header.key)
            del self._buffer[:end]
            message = self._control(header, payload) if header.opcode >= Opcode.CLOSE else self._data(header, payload)
            if message is not None:
                incoming.append(message)
        return incoming

    def _header(self) -> _Header | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FrameError(1002, f"unknown opcode {first & 0x0F}") from None
        compressed = bool(first & 0x40)
        if first & 0x30 or (compressed and not (self.deflated and opcode in (Opcode.TEXT, Opcode.BINARY))):
            raise FrameError(1002, "reserved bits set")
        if not second & 0x80:
            raise FrameError(1002, "a client's frame must be masked")
        length = second & 0x7F
        final = bool(first & 0x80)
        if opcode >= Opcode.CLOSE and (length > LONGEST_CONTROL_BYTES or not final):
            raise FrameError(1002, "a control frame must be short and whole")
        start = 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if len(buffer) < 2 + width:
                return None
            length = int.from_bytes(buffer[2 : 2 + width], "big")
            start += width
        if opcode < Opcode.CLOSE and self._parts_bytes + length > self.limit_bytes:
            raise FrameError(1009, f"a message of more than {self.limit_bytes} bytes")
        if len(buffer) < start + 4:
            return None
        return _Header(final, compressed, opcode, bytes(buffer[start : start + 4]), start + 4, length)

    def _control(self, header: _Header, payload: bytes) -> Incoming:
        if header.opcode is Opcode.PING:
            return Ping(payload)
        if header.opcode is Opcode.PONG:
            return Pong(payload)
        if not payload:
            return Closed(1005, "")
        if len(payload) == 1:
            raise FrameError(1002, "a CLOSE code needs two bytes")
        code = int.from_bytes(payload[:2], "big")
        if code in (1004, 1005, 1006) or not (1000 <= code <= 1014 or 3000 <= code <= 4999):
            raise FrameError(1002, f"CLOSE code {code} may not be sent")
        return Closed(code, _text(payload[2:]))

    def _data(self, header: _Header, payload: bytes) -> str | bytes | None:
        if header.opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise FrameError(1002, "a continuation of nothing")
        elif self._opcode is not None:
            raise FrameError(1002, "a new message inside another")
        elif header.final and not header.compressed:  # nearly all messages: one frame, as it is
            return _text(payload) if header.opcode is Opcode.TEXT else payload
        else:
            self._opcode, self._compressed = header.opcode, header.compressed
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if not header.final:
            return None
        whole = b"".join(self._parts)
        opcode, compressed = self._opcode, self._compressed
        self._parts, self._parts_bytes, self._opcode = [], 0, None
        if compressed:
            whole = self._inflate(whole)
        return _text(whole) if opcode is Opcode.TEXT else whole

    def _inflate(self, data: bytes) -> bytes:
        inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            whole = inflater.decompress(data + _DEFLATE_END, self.limit_bytes + 1)
        except zlib.error as error:
            raise FrameError(1007, f"cannot decompress: {error}") from None
        if len(whole) > self.limit_bytes:
            raise FrameError(1009, f"a message of more than {self.limit_bytes} bytes")
        return whole


def _short_texts(data: bytes, texts: list[Incoming]) -> int:
    """Read whole, masked text frames of 126 to 2047 bytes, up to whatever is none; return where that begins."""
    begin = 0
    while len(data) - begin >= 134 and data[begin] == 0x81 and data[begin + 1] == 0xFE:
        length = data[begin + 2] << 8 | data[begin + 3]
        end = begin + 8 + length
        if end > len(data) or length >= _SHORT_BYTES:
            break
        texts.append(_text(mask(data[begin + 8 : end], data[begin + 4 : begin + 8])))
        begin = end
    return begin


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(1007, "text that is not UTF-8") from None
