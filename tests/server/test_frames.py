"""Framing, against two implementations that are not ours, and against what a peer must not do (after Autobahn's cases)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from trio_voice.realtime_server import frames as embedded
from trio_voice.server.frames import (
    NO_CODE,
    Close,
    FrameDecoder,
    FrameEncoder,
    FrameError,
    Opcode,
    Ping,
    Pong,
    Received,
    is_sendable,
    mask,
    whole_text,
)

LIMIT = 100_000
MESSAGES = st.one_of(st.text(max_size=300), st.binary(max_size=300), st.integers(65_530, 65_540).map(bytes))
KEY = b"\x01\x02\x03\x04"


def frame(first: int, payload: bytes = b"", *, key: bytes | None = None) -> bytes:
    """A frame, written down by hand."""
    size, bit = len(payload), 0x80 if key else 0
    head = bytes([first, bit | size]) if size < 126 else struct.pack("!BBH", first, bit | 126, size)
    return head + (key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if key else payload)


def read(data: bytes, *, masked: bool = False, limit_bytes: int = LIMIT) -> list[Received]:
    return FrameDecoder(masked, limit_bytes).decode(data)


def error_code(data: bytes, *, masked: bool = False, limit_bytes: int = LIMIT) -> int:
    *_, error = read(data, masked=masked, limit_bytes=limit_bytes)
    assert isinstance(error, FrameError)
    return error.code


def read_of_wsproto(peer: Connection) -> str | bytes:
    events = list(peer.events())
    if isinstance(events[0], TextMessage):
        return "".join(event.data for event in events if isinstance(event, TextMessage))
    return b"".join(bytes(event.data) for event in events if isinstance(event, BytesMessage))


# --- with others -------------------------------------------------------------------------------------------------------


@given(messages=st.lists(MESSAGES, max_size=4), masked=st.booleans(), chunk=st.integers(1, 70_000))
def test_wsproto_reads_what_is_written_and_writes_what_is_read(messages: list[str | bytes], masked: bool, chunk: int) -> None:
    ours, theirs = FrameEncoder(masked), Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    for message in messages:
        theirs.receive_data(ours.message(message))
        assert read_of_wsproto(theirs) == message
    stream = b"".join(
        theirs.send(TextMessage(message) if isinstance(message, str) else BytesMessage(message)) for message in messages
    )
    decoder = FrameDecoder(not masked, LIMIT)
    assert [one for at in range(0, len(stream), chunk) for one in decoder.decode(stream[at : at + chunk])] == messages


@given(messages=st.lists(MESSAGES, max_size=4))
def test_the_embedded_server_reads_what_is_written_and_writes_what_is_read(messages: list[str | bytes]) -> None:
    encoder, reader = FrameEncoder(masked=True), embedded.FrameReader(LIMIT)
    assert [one for message in messages for one in reader.feed(encoder.message(message))] == messages
    stream = b"".join(
        embedded.encode_frame(embedded.Opcode.TEXT, message.encode())
        if isinstance(message, str)
        else embedded.encode_frame(embedded.Opcode.BINARY, message)
        for message in messages
    )
    assert read(stream) == messages


@pytest.mark.parametrize("masked", [True, False])
def test_wsproto_understands_our_control_frames(masked: bool) -> None:
    ours, theirs = FrameEncoder(masked), Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    theirs.send(WsprotoPing(b"x"))
    theirs.receive_data(ours.ping() + ours.pong(b"x"))
    theirs.receive_data(ours.close(4001, "é" * 100))
    ping, pong, closed = theirs.events()
    assert (ping, pong) == (WsprotoPing(b""), WsprotoPong(b"x"))
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason) == (4001, "é" * 61)  # what fits into 125 bytes, and no half of a letter
    assert ours.close(NO_CODE)[:2] == bytes([0x88, 0x80 if masked else 0])


# --- whole messages ----------------------------------------------------------------------------------------------------


def test_frames_are_read_however_they_are_cut() -> None:
    stream = b"".join((frame(0x81, b"a" * 300, key=KEY), frame(0x89, b"p", key=KEY), frame(0x82, b"", key=KEY)))
    decoder = FrameDecoder(masked=True, limit_bytes=LIMIT)
    assert [one for at in range(len(stream)) for one in decoder.decode(stream[at : at + 1])] == ["a" * 300, Ping(b"p"), b""]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [126, 127, 400, 65_535])
def test_one_long_text_and_nothing_besides_has_a_way_of_its_own(masked: bool, size: int) -> None:
    key = KEY if masked else None
    data, short = frame(0x81, b"a" * size, key=key), frame(0x81, b"a" * 125, key=key)
    assert whole_text(data, masked, size) == "a" * size
    assert whole_text(data, masked, size - 1) is None
    assert whole_text(data, not masked, size + 8) is None
    for other in (b"", data[:1], data[:8], data[:-1], data + b"\x81", data + data, b"\x82" + data[1:], b"\x01" + data[1:], short):
        assert whole_text(other, masked, LIMIT) is None
    assert whole_text(frame(0x81, "é".encode() * 100, key=key), masked, LIMIT) is None
    assert whole_text(frame(0x81, b"\xff" * 200, key=key), masked, LIMIT) is None


@pytest.mark.parametrize("masked", [True, False])
def test_it_is_for_a_decoder_in_which_nothing_is_begun(masked: bool) -> None:
    key = KEY if masked else None
    data = frame(0x81, b"a" * 200, key=key)
    decoder = FrameDecoder(masked, LIMIT, at_once=1)
    last_part, pong, close = frame(0x80, b"b", key=key), frame(0x8A, b"", key=key), frame(0x88, b"", key=key)
    was_idle = [decoder.is_idle]
    for read_bytes in (data, data[:1], data[1:], frame(0x01, b"a", key=key), last_part + pong, b"", close):
        decoder.decode(read_bytes)
        was_idle.append(decoder.is_idle)
    assert was_idle == [True, True, False, True, False, False, True, False]  # a Pong was left in it


@given(sizes=st.lists(st.sampled_from([1, 130, 251]), min_size=1, max_size=8), data=st.data())
def test_it_takes_nothing_away_from_the_other_way(sizes: list[int], data: st.DataObject) -> None:
    """Asked first with every read, whatever was read before, it changes nothing of what is received."""
    kinds = st.sampled_from([0x81, 0x82, 0x01, 0x80, 0x00, 0x89, 0x88])
    payloads = st.sampled_from([b"a", b"\xff"])
    stream = [frame(data.draw(kinds), data.draw(payloads) * size, key=KEY) for size in sizes]
    if data.draw(st.booleans()):
        whole, cut = b"".join(stream), data.draw(st.integers(1, 400))
        stream = [whole[at : at + cut] for at in range(0, len(whole), cut)]
    asked, plain = FrameDecoder(True, 250), FrameDecoder(True, 250)
    for piece in stream:
        text = whole_text(piece, True, 250) if asked.is_idle else None
        received = [text] if text is not None else asked.decode(piece)
        assert list(map(repr, received)) == list(map(repr, plain.decode(piece)))


def test_fragments_are_one_message_and_control_frames_may_stand_between_them() -> None:
    stream = b"".join((frame(0x01, "é".encode()[:1]), frame(0x89, b"1"), frame(0x00), frame(0x8A, b"2"), frame(0x80, b"\xa9!")))
    assert read(stream) == [Ping(b"1"), Pong(b"2"), "é!"]
    assert read(frame(0x02, b"\xff") + frame(0x80, b"\xfe") + frame(0x81, b"next")) == [b"\xff\xfe", "next"]


def test_a_million_empty_fragments_are_kept_as_nothing() -> None:
    decoder = FrameDecoder(masked=False, limit_bytes=10)
    decoder.decode(frame(0x01))
    for _ in range(1000):
        assert decoder.decode(frame(0x00) * 1000) == []
    assert decoder.decode(frame(0x80, b"end")) == ["end"]


def test_the_limit_counts_bytes_and_is_checked_before_the_payload_is_there() -> None:
    assert read(frame(0x81, b"x" * 10), limit_bytes=10) == ["x" * 10]
    assert error_code(frame(0x81, b"x" * 11)[:2], limit_bytes=10) == 1009
    assert error_code(b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), limit_bytes=10) == 1009
    assert error_code(frame(0x01, b"x" * 6) + frame(0x00, b"x" * 5)[:2], limit_bytes=10) == 1009
    assert read(frame(0x01, b"x" * 6) + frame(0x89, b"x" * 100) + frame(0x80, b"x" * 4), limit_bytes=10)[1] == "x" * 10


# --- what a peer must not do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        *(frame(0x80 | opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),  # opcodes that do not exist
        *(frame(0x81 | reserved, b"x") for reserved in (0x40, 0x20, 0x10)),  # extensions that were not agreed on
        *(frame(opcode, b"") for opcode in (0x08, 0x09, 0x0A)),  # control frames in fragments
        frame(0x89, b"x" * 126),
        frame(0x80, b"x"),  # a continuation of nothing
        frame(0x00, b"x"),
        frame(0x01, b"x") + frame(0x81, b"y"),  # a message within a message
        frame(0x01, b"x") + frame(0x02, b"y"),
        b"\x81\x7e\x00\x7d" + b"x" * 125,  # a length that is longer than it must be
        b"\x81\x7f" + (65_535).to_bytes(8, "big"),
        frame(0x81, b"x", key=KEY),  # a server masks nothing
        frame(0x88, b"\x03"),  # half a Close code
        *(frame(0x88, code.to_bytes(2, "big")) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)),
    ],
)
def test_a_breach_of_the_protocol_is_1002(data: bytes) -> None:
    assert error_code(data) == 1002


def test_a_client_must_mask() -> None:
    assert error_code(frame(0x81, b"x"), masked=True) == 1002
    assert read(frame(0x81, b"x", key=KEY), masked=True) == ["x"]


@pytest.mark.parametrize("text", [b"\xff", "é".encode()[:1], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
def test_text_that_is_no_utf_8_is_1007(text: bytes) -> None:
    assert error_code(frame(0x81, text)) == 1007
    assert error_code(frame(0x01, text) + frame(0x80)) == 1007
    assert error_code(frame(0x88, (1000).to_bytes(2, "big") + text)) == 1007


def test_what_was_complete_before_a_breach_is_given_first_and_nothing_comes_after_it() -> None:
    decoder = FrameDecoder(masked=False, limit_bytes=LIMIT)
    first, error = decoder.decode(frame(0x81, b"good") + frame(0x83) + frame(0x81, b"late"))
    assert (first, isinstance(error, FrameError)) == ("good", True)
    assert decoder.decode(frame(0x81, b"later")) == []


# --- the end -----------------------------------------------------------------------------------------------------------


def test_a_close_is_read_with_its_code_and_reason_and_ends_the_stream() -> None:
    assert read(frame(0x88) + frame(0x81, b"late")) == [Close(1005, "")]
    assert read(frame(0x88, (1000).to_bytes(2, "big"))) == [Close(1000, "")]
    assert read(frame(0x88, (4999).to_bytes(2, "big") + "é".encode())) == [Close(4999, "é")]


def test_the_codes_that_may_be_sent() -> None:
    sendable = [code for code in range(6000) if is_sendable(code)]
    assert sendable == [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, *range(3000, 5000)]


# --- masks -------------------------------------------------------------------------------------------------------------


@given(payload=st.binary(max_size=200), key=st.binary(min_size=4, max_size=4))
def test_masking_is_the_exclusive_or_and_masking_twice_is_nothing(payload: bytes, key: bytes) -> None:
    masked = mask(payload, key)
    assert masked == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    assert mask(masked, key) == payload


def test_every_frame_of_a_client_has_a_key_of_its_own() -> None:
    encoder = FrameEncoder(masked=True)
    keys = [encoder.message("x")[2:6] for _ in range(1000)]
    assert len(set(keys)) > 990
    assert encoder.message(b"x")[0] == 0x80 | Opcode.BINARY


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(TypeError):
        FrameEncoder(masked=True).message([0])  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("whole", [True, False])
def test_so_many_frames_are_read_in_one_go_and_the_others_when_it_is_gone_on(whole: bool) -> None:
    decoder = FrameDecoder(masked=False, limit_bytes=100, at_once=3)
    sent = b"".join(bytes([0x81, 1, 97 + count]) for count in range(7)) + (b"" if whole else b"\x81")
    steps = [(decoder.decode(data), decoder.has_more) for data in (sent, b"", b"")]
    assert steps == [(["a", "b", "c"], True), (["d", "e", "f"], True), (["g"], False)]
    assert decoder.decode(b"\x81\x01h" if whole else b"\x01h") == ["h"]


def test_as_many_as_may_be_read_in_one_go_leave_nothing_and_parts_of_a_message_are_counted() -> None:
    decoder = FrameDecoder(masked=False, limit_bytes=100, at_once=3)
    all_sent = (
        b"\x81\x01a" * 3,
        b"\x01\x01a" + b"\x00\x00" * 2 + b"\x80\x01b",
        b"",
        b"\x89\x00" * 2 + b"\x88\x00" + b"\x81\x01a",
    )
    assert [(decoder.decode(data), decoder.has_more) for data in all_sent] == [
        (["a", "a", "a"], False),
        ([], True),
        (["ab"], False),
        ([Ping(b""), Ping(b""), Close(NO_CODE, "")], False),
    ]
