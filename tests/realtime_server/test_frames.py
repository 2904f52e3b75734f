from __future__ import annotations

import random
import struct
import zlib

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, TextMessage

from trio_voice.realtime_server import frames
from trio_voice.realtime_server.frames import Closed, FrameError, FrameReader, Opcode, Ping, Pong

KEY = b"\x01\x02\x03\x04"


def client_frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    length = len(payload)
    size = (
        bytes([length])
        if length < 126
        else b"\x7e" + struct.pack("!H", length)
        if length < 65536
        else b"\x7f" + struct.pack("!Q", length)
    )
    first = (0x80 if final else 0) | reserved | opcode
    if not masked:
        return bytes([first]) + size + payload
    return bytes([first, size[0] | 0x80]) + size[1:] + KEY + frames.mask(payload, KEY)


def reader(limit: int = 1 << 20, *, deflated: bool = False) -> FrameReader:
    return FrameReader(limit, deflated)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 2047, 2048, 2049, 65535, 65536, 100_001])
def test_a_text_of_any_length_arrives(length: int) -> None:
    text = "x" * length
    assert reader().feed(client_frame(Opcode.TEXT, text.encode())) == [text]


def test_any_cut_of_the_bytes_gives_the_same_messages() -> None:
    data = (
        client_frame(Opcode.TEXT, b"a" * 200)
        + client_frame(Opcode.TEXT, b"b" * 300)
        + client_frame(Opcode.TEXT, b"first ", final=False)
        + client_frame(Opcode.PING, b"now")
        + client_frame(Opcode.CONTINUATION, b"second")
        + client_frame(Opcode.BINARY, b"\x00\x01")
        + client_frame(Opcode.PONG, b"")
        + client_frame(Opcode.CLOSE, b"\x03\xe8bye")
    )
    expected = ["a" * 200, "b" * 300, Ping(b"now"), "first second", b"\x00\x01", Pong(b""), Closed(1000, "bye")]
    rng = random.Random(1)
    for _ in range(100):
        cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randrange(6)))
        whole = reader()
        got = [each for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) for each in whole.feed(data[start:end])]
        assert got == expected


def test_wsproto_reads_what_is_written_and_writes_what_is_read() -> None:
    client = Connection(ConnectionType.CLIENT)
    for text in ("short", "x" * 300, "y" * 70_000):
        client.receive_data(frames.encode_frame(Opcode.TEXT, text.encode()))
        received = "".join(str(each.data) for each in client.events() if isinstance(each, TextMessage))
        assert received == text
        sent: list[Message[str]] = [TextMessage(text)]
        assert reader().feed(b"".join(client.send(each) for each in sent)) == [text]
    assert reader().feed(client.send(BytesMessage(b"\xff"))) == [b"\xff"]
    client.receive_data(frames.encode_close(4000, "reason"))
    (closed,) = client.events()
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason) == (4000, "reason")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(3, b"x"), 1002),
        (client_frame(Opcode.TEXT, b"x", masked=False), 1002),
        (client_frame(Opcode.TEXT, b"x", reserved=0x40), 1002),
        (client_frame(Opcode.PING, b"x", final=False), 1002),
        (client_frame(Opcode.PING, b"x" * 126), 1002),
        (client_frame(Opcode.CONTINUATION, b"x"), 1002),
        (client_frame(Opcode.TEXT, b"x", final=False) + client_frame(Opcode.TEXT, b"y"), 1002),
        (client_frame(Opcode.CLOSE, b"\x03"), 1002),
        (client_frame(Opcode.CLOSE, b"\x03\xed"), 1002),  # 1005 may not be sent
        (client_frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (client_frame(Opcode.TEXT, b"\xff" * 200), 1007),
        (client_frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
    ],
)
def test_broken_framing_has_its_code(data: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        reader().feed(data)
    assert caught.value.code == code


def test_the_limit_holds_before_the_bytes_are_there() -> None:
    assert reader(100).feed(client_frame(Opcode.TEXT, b"x" * 100)) == ["x" * 100]
    for data in (client_frame(Opcode.TEXT, b"x" * 101)[:4], client_frame(Opcode.TEXT, b"x" * 5000)[:4]):
        with pytest.raises(FrameError) as caught:
            reader(100).feed(data)
        assert caught.value.code == 1009
    in_parts = reader(100)
    assert in_parts.feed(client_frame(Opcode.TEXT, b"x" * 60, final=False)) == []
    with pytest.raises(FrameError):
        in_parts.feed(client_frame(Opcode.CONTINUATION, b"x" * 41))


def test_compressed_messages() -> None:
    text = "hello " * 100
    squeezed = frames.deflate(text.encode())
    assert len(squeezed) < 50
    assert reader(deflated=True).feed(client_frame(Opcode.TEXT, squeezed, reserved=0x40)) == [text]
    bomb = frames.deflate(b"\0" * 1_000_000)
    with pytest.raises(FrameError) as caught:
        reader(10_000, deflated=True).feed(client_frame(Opcode.TEXT, bomb, reserved=0x40))
    assert caught.value.code == 1009
    with pytest.raises(FrameError) as caught:
        reader(deflated=True).feed(client_frame(Opcode.TEXT, b"\xff\xff", reserved=0x40))
    assert caught.value.code == 1007
    inflater = zlib.decompressobj(wbits=-15)
    assert inflater.decompress(squeezed + b"\0\0\xff\xff").decode() == text


def test_a_close_without_a_code_is_1005_and_a_long_reason_is_cut() -> None:
    assert reader().feed(client_frame(Opcode.CLOSE, b"")) == [Closed(1005, "")]
    close = frames.encode_close(1001, "ä" * 100)
    assert close[1] <= 125
    assert close[4:].decode() == "ä" * 61
