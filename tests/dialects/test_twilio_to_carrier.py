"""The commands on the wire: Twilio drops a message that has one field too many."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.twilio_samples import SID, START, STOP, changed, feed, started
from trio_voice.core.commands import AppendAudio, ClearPlayback, Close, Command, HangUp, PlayAudio, SendMark
from trio_voice.dialects.base import StreamFault
from trio_voice.dialects.twilio import MEDIA_LIMIT_BYTES, TwilioDialect
from trio_voice.errors import LocalProtocolError


def test_the_exact_messages_to_the_carrier() -> None:
    dialect = started()
    assert dialect.encode(PlayAudio("r1", "i1", b"\xff\x7f\x00")) == (
        '{"event":"media","streamSid":"MZ0123456789abcdef0123456789abcdef","media":{"payload":"/38A"}}',
    )
    assert dialect.encode(SendMark("1:12")) == (
        '{"event":"mark","streamSid":"MZ0123456789abcdef0123456789abcdef","mark":{"name":"1:12"}}',
    )
    assert dialect.encode(ClearPlayback()) == ('{"event":"clear","streamSid":"MZ0123456789abcdef0123456789abcdef"}',)


@given(st.binary(max_size=400), st.text(max_size=60), st.text(min_size=1, max_size=60))
def test_messages_are_json_with_no_field_too_many(audio: bytes, name: str, sid: str) -> None:
    dialect = TwilioDialect()
    feed(dialect, changed(START, "streamSid", sid))
    assert [json.loads(message) for message in dialect.encode(PlayAudio("r", "i", audio))] == (
        [{"event": "media", "streamSid": sid, "media": {"payload": base64.b64encode(audio).decode()}}] if audio else []
    )
    assert [json.loads(message) for message in dialect.encode(SendMark(name))] == [
        {"event": "mark", "streamSid": sid, "mark": {"name": name}}
    ]
    assert [json.loads(message) for message in dialect.encode(ClearPlayback())] == [{"event": "clear", "streamSid": sid}]


@pytest.mark.parametrize("length", [0, 1, MEDIA_LIMIT_BYTES, MEDIA_LIMIT_BYTES + 1, 3 * MEDIA_LIMIT_BYTES + 160])
def test_long_audio_is_divided_and_nothing_is_lost(length: int) -> None:
    audio = bytes(i % 253 for i in range(length))
    messages = started().encode(PlayAudio("r", "i", audio))
    pieces = [base64.b64decode(json.loads(message)["media"]["payload"]) for message in messages]
    assert b"".join(pieces) == audio
    assert all(0 < len(piece) <= MEDIA_LIMIT_BYTES for piece in pieces)
    assert all(len(piece) % 160 == 0 for piece in pieces[:-1])


@pytest.mark.parametrize("command", [AppendAudio(1, b""), Close("end"), HangUp("end"), Command()])
def test_a_command_that_is_not_for_the_carrier_is_our_mistake(command: Command) -> None:
    with pytest.raises(LocalProtocolError, match=type(command).__name__):
        started().encode(command)


@pytest.mark.parametrize("command", [PlayAudio("r", "i", b"\xff"), SendMark("m"), ClearPlayback()])
def test_commands_need_a_stream_that_runs(command: Command) -> None:
    with pytest.raises(LocalProtocolError, match="before the stream has started"):
        TwilioDialect().encode(command)
    dialect = started()
    feed(dialect, STOP)
    assert dialect.encode(command) == ()


def test_after_a_fault_the_caller_can_still_be_spoken_to() -> None:
    dialect = TwilioDialect(malformed_limit=1)
    feed(dialect, START)
    assert isinstance(dialect.decode("?")[-1], StreamFault)
    assert dialect.encode(ClearPlayback()) == (f'{{"event":"clear","streamSid":"{SID}"}}',)
