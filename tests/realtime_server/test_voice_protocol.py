"""The worker's pipe: every message survives every cut, and what is no message is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime_server.voice_protocol import (
    LONGEST_MESSAGE_BYTES,
    Failed,
    Finished,
    MessageBuffer,
    Piece,
    Ready,
    Report,
    Request,
    Speak,
    Stop,
    pack,
)

MESSAGES: list[Request | Report] = [
    Ready(["flite", "espeak-ng"]),
    Speak(1, "Grüße, 你好", "marin", 1.25, "de", "audio/pcmu"),
    Piece(1, bytes(range(256)) * 20),
    Stop(1),
    Finished(1),
    Failed(2, "no"),
]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_messages_survive_every_cut(sizes: list[int]) -> None:
    data = b"".join(pack(message) for message in MESSAGES)
    buffer, found = MessageBuffer(), []
    for size in [*sizes, len(data)]:
        found += list(buffer.feed(data[:size]))
        data = data[size:]
    assert found == MESSAGES


def test_a_length_beyond_the_bound_is_refused_before_it_is_stored() -> None:
    with pytest.raises(RemoteProtocolError, match="1048577 bytes"):
        list(MessageBuffer().feed((LONGEST_MESSAGE_BYTES + 1).to_bytes(4, "big")))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x81\xa4type\xa5sing!", b"Segmentation fault"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no message"):
        list(MessageBuffer().feed(len(body).to_bytes(4, "big") + body))


def test_messages_before_the_nonsense_are_still_told() -> None:
    buffer = MessageBuffer()
    messages = buffer.feed(pack(Finished(1)) + b"\x00\x00\x00\x01\xc1")
    assert next(messages) == Finished(1)
    with pytest.raises(RemoteProtocolError):
        next(messages)
