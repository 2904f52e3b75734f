"""The framing of WebSocket messages (RFC 6455, section 5), both roles, without I/O: bytes in, messages out, and back.

It is ours because it is on the way of every twenty milliseconds of audio, twice each way. The decoder takes all that one read
brought and returns all that is complete in it; the most frequent frame, a whole text message, is the shortest way through.

Nothing that a peer sends is kept beyond its bound: a message by the limit, which counts bytes and is checked against the header
before a payload is waited for; a control frame by the protocol; the parts of a fragmented message as one buffer, whatever their
number. No extension is ever negotiated, so reserved bits are an error.
"""

from __future__ import annotations

import os
import struct
import sys
from enum import IntEnum

from attrs import define, field, frozen

from trio_voice.errors import RemoteProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # it was installed where nothing could compile it: the library's own, in Python
    from websockets.utils import apply_mask


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


NO_CODE = 1005
"""Stands for a Close frame without a code (RFC 6455, section 7.4.1)."""
PROTOCOL_ERROR = 1002
NOT_UTF_8 = 1007
TOO_LONG = 1009
CONTROL_BYTES = 125
"""The longest payload of a control frame."""
HEAD_BYTES = 4
"""What stands before a payload of 126 to 65,535 bytes."""
MASKED_HEAD_BYTES = 8
"""The same with the mask's key."""

_FIN = 0x80
_MASKED = 0x80
_WHOLE_TEXT = _FIN | Opcode.TEXT
_WHOLE_BINARY = _FIN | Opcode.BINARY
_KNOWN_FIRST_BYTES = frozenset(
    {final | opcode for final in (0, _FIN) for opcode in (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY)}
    | {_FIN | opcode for opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG)}
)
_KEYS_AT_ONCE = 256
_pack_short = struct.Struct("!BB").pack
_pack_middle = struct.Struct("!BBH").pack
_pack_long = struct.Struct("!BBQ").pack
ALL = sys.maxsize


def whole_text(data: bytes, masked: bool, limit_bytes: int) -> str | None:
    """Decode what is by far the most frequent: one frame with a whole text of 126 to 65,535 characters of ASCII, and no more.

    None: it is something else, or longer than `limit_bytes`. It is for a decoder that `is_idle`, and no other.
    """
    size = len(data) - (MASKED_HEAD_BYTES if masked else HEAD_BYTES)
    if (
        126 <= size <= limit_bytes
        and data[0] == _WHOLE_TEXT
        and data[1] == (_MASKED | 126 if masked else 126)
        and (data[2] << 8 | data[3]) == size
    ):
        payload = apply_mask(data[8:], data[4:8]) if masked else data[4:]
        return payload.decode("ascii") if payload.isascii() else None
    return None


def python_text_frame(text: str, key: bytes, /) -> bytes:
    """Return a whole text message as one frame, masked with the four bytes of `key`, or b"" for no mask.

    Raises UnicodeEncodeError for half a surrogate pair.
    """
    return _frame(_WHOLE_TEXT, text.encode(), key)


try:
    from trio_voice._speedups import text_frame as compiled_text_frame
except ImportError:  # it was installed where nothing could compile it
    text_frame = python_text_frame
else:
    text_frame = compiled_text_frame


class FrameError(RemoteProtocolError):
    """The peer broke the framing; `code` is the Close code that tells it so (RFC 6455, section 7.4.1)."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@frozen
class Ping:
    """The peer asks for a Pong with the same payload."""

    payload: bytes


@frozen
class Pong:
    """The peer answers a Ping."""

    payload: bytes


@frozen
class Close:
    """The peer ends the connection; `code` is 1005 when it gave none."""

    code: int
    reason: str


Received = str | bytes | Ping | Pong | Close | FrameError
"""A text or binary message, a control frame, or, as the last, what is wrong with what follows."""


# --- in ----------------------------------------------------------------------------------------------------------------


@define(eq=False)
class FrameDecoder:
    """Reads the frames of one peer: of a client (`masked`), or of a server. `limit_bytes` bounds a message.

    `at_once` bounds how many frames are read in one go: a peer can put thousands into one read that hold nothing.
    """

    masked: bool
    limit_bytes: int
    at_once: int = ALL
    head_bytes: int = field(init=False)
    """What stands before a text that `whole_text` decodes."""
    has_more: bool = field(default=False, init=False)
    """There may be more in what was taken in: b"" goes on with it."""
    is_idle: bool = field(default=True, init=False)
    """Nothing is begun, and nothing is over: what comes next begins with a frame, and may be decoded by `whole_text`."""
    _rest: bytearray = field(factory=bytearray, init=False)
    """The beginning of a frame that is not complete."""
    _needed: int = field(default=0, init=False)
    """How long that frame is at least: it is looked at again when so much is there."""
    _opcode: int = field(default=0, init=False)
    """Of the fragmented message in progress; 0: there is none."""
    _fragments: bytearray = field(factory=bytearray, init=False)
    _over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.head_bytes = MASKED_HEAD_BYTES if self.masked else HEAD_BYTES

    def decode(self, data: bytes | bytearray) -> list[Received]:
        """Take bytes in and return what they complete; after a Close or a FrameError nothing more comes. It never raises."""
        if self._over:
            return []
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
            rest.clear()
        received: list[Received] = []
        try:
            used = self._decode(data, received)
        except FrameError as error:
            received.append(error)
            self._end()
        else:
            if used < len(data) and not self._over:
                rest += data[used:]
        self.is_idle = self._is_between_frames()
        return received

    def _is_between_frames(self) -> bool:
        return not (self._rest or self._opcode or self._over or self.has_more)

    def _decode(self, data: bytes | bytearray, received: list[Received]) -> int:
        """Append what is complete to `received`, and return how many bytes that took. Raises FrameError."""
        at, end, masked = 0, len(data), self.masked
        self._needed = 2
        for _ in range(self.at_once):
            if end - at < 2:
                break
            first, second = data[at], data[at + 1]
            size, head = second & 0x7F, at + 2
            if size >= 126:
                length_bytes = 2 if size == 126 else 8
                head += length_bytes
                if end < head:
                    self._needed = head - at
                    break
                size = int.from_bytes(data[at + 2 : head], "big")
                if size < 126 or (length_bytes == 8 and size < 65536):
                    raise FrameError(PROTOCOL_ERROR, f"a length of {size} in {length_bytes} bytes")
            self._check(first, size, has_key=second >= _MASKED)
            begin = head + 4 if masked else head
            stop = begin + size
            if end < stop:
                self._needed = stop - at
                break
            payload = mask(data[begin:stop], data[head:begin]) if masked else bytes(data[begin:stop])
            at = stop
            if first == _WHOLE_TEXT:
                received.append(_text(payload))
            else:
                self._take(first, payload, received)
                if self._over:
                    break
        else:
            self.has_more = at < end
            return at
        self.has_more = False
        return at

    def _check(self, first: int, size: int, *, has_key: bool) -> None:
        """Look at a header before its payload is there. Raises FrameError."""
        if has_key is not self.masked:
            raise FrameError(PROTOCOL_ERROR, "a client's frame without a mask" if self.masked else "a server's frame with a mask")
        if first not in _KNOWN_FIRST_BYTES:
            raise FrameError(PROTOCOL_ERROR, f"a frame that begins with {first:#04x}")
        opcode = first & 0x0F
        if opcode >= Opcode.CLOSE:
            if size > CONTROL_BYTES:
                raise FrameError(PROTOCOL_ERROR, f"a control frame of {size} bytes")
            return
        if (opcode == Opcode.CONTINUATION) is not (self._opcode != 0):
            raise FrameError(PROTOCOL_ERROR, "a message within a message" if self._opcode else "a continuation of no message")
        if len(self._fragments) + size > self.limit_bytes:
            raise FrameError(TOO_LONG, f"a message of more than {self.limit_bytes} bytes")

    def _take(self, first: int, payload: bytes, received: list[Received]) -> None:
        """Take any frame but a whole text message."""
        opcode = first & 0x0F
        if first == _WHOLE_BINARY:
            received.append(payload)
        elif opcode == Opcode.PING:
            received.append(Ping(payload))
        elif opcode == Opcode.PONG:
            received.append(Pong(payload))
        elif opcode == Opcode.CLOSE:
            received.append(_close(payload))
            self._end()
        else:
            self._opcode = opcode or self._opcode
            self._fragments += payload
            if first & _FIN:
                whole, is_text = bytes(self._fragments), self._opcode == Opcode.TEXT
                self._fragments.clear()
                self._opcode = 0
                received.append(_text(whole) if is_text else whole)

    def _end(self) -> None:
        self._over = True
        self.has_more = False
        self._rest.clear()
        self._fragments.clear()


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(NOT_UTF_8, "a text that is not UTF-8") from None


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not is_sendable(code):
        raise FrameError(PROTOCOL_ERROR, f"the Close code {code}" if len(payload) > 1 else "half a Close code")
    return Close(code, _text(payload[2:]))


def is_sendable(code: int) -> bool:
    """Say whether a Close code may stand in a frame (RFC 6455, section 7.4, and IANA's registry)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


# --- out ---------------------------------------------------------------------------------------------------------------


@define(eq=False)
class FrameEncoder:
    """Writes the frames of one side: a client's (`masked`), or a server's."""

    masked: bool
    _keys: bytes = field(default=b"", init=False)
    _keys_used: int = field(default=0, init=False)

    def message(self, message: str | bytes) -> bytes:
        """Return a whole text or binary message as one frame. Raises TypeError for anything else."""
        key = self.next_key()
        if isinstance(message, str):
            return text_frame(message, key)
        return _frame(_WHOLE_BINARY, memoryview(message).tobytes(), key)

    def ping(self) -> bytes:
        """Return a request for a Pong."""
        return self._control(Opcode.PING, b"")

    def pong(self, payload: bytes) -> bytes:
        """Return the answer to a Ping."""
        return self._control(Opcode.PONG, payload)

    def close(self, code: int, reason: str = "") -> bytes:
        """Return a Close; 1005 stands for none. What is too long of the reason is cut."""
        if code == NO_CODE:
            return self._control(Opcode.CLOSE, b"")
        text = reason.encode(errors="replace")[: CONTROL_BYTES - 2].decode(errors="ignore")
        return self._control(Opcode.CLOSE, code.to_bytes(2, "big") + text.encode())

    def _control(self, opcode: Opcode, payload: bytes) -> bytes:
        return _frame(_FIN | opcode, payload, self.next_key())

    def next_key(self) -> bytes:
        """Return what masks the next frame: four bytes, or b"" for no mask."""
        if not self.masked:
            return b""
        used = self._keys_used
        if used == len(self._keys):  # nobody can guess them (RFC 6455, section 5.3); they are drawn many at a time
            self._keys, used = os.urandom(_KEYS_AT_ONCE), 0
        self._keys_used = used + 4
        return self._keys[used : used + 4]


def _frame(first: int, payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    bit = _MASKED if key else 0
    if size < 126:
        head = _pack_short(first, bit | size)
    elif size < 65536:
        head = _pack_middle(first, bit | 126, size)
    else:
        head = _pack_long(first, bit | 127, size)
    return head + key + apply_mask(payload, key) if key else head + payload


def mask(payload: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """Mask, or unmask: every byte XOR the key's in turn."""
    return apply_mask(bytes(payload), bytes(key))
