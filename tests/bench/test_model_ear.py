"""The bench's cheap ear hears what the server's own way hears, in the same frames."""

import os
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random
from typing import Any

import msgspec
import trio.testing

from bench.load import client_frame, server_frames
from bench.model_ear import ModelEar, appended
from bench.model_process import SCRIPT, Seen
from bench.stamps import stamp, with_number
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.realtime.codec import append_message
from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.connection import Connection
from trio_voice.realtime_server.faults import FaultyWire
from trio_voice.realtime_server.frames import mask
from trio_voice.realtime_server.hearing import Hearing
from trio_voice.realtime_server.level_judge import LevelJudge
from trio_voice.realtime_server.prepared_speech import PreparedSpeech
from trio_voice.realtime_server.script import read_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.web_socket import WebSocket

FRAME_BYTES = 160
QUIET = bytes(0xF8 | at * 7 % 8 for at in range(8000))
UPDATE = {"type": "realtime", "audio": {name: {"format": {"type": "audio/pcmu"}} for name in ("input", "output")}}


class Nobody:
    """The voice: speech is prepared, and none is asked for."""

    def speech(
        self, text: str, *, voice: str, speed: float, audio_format: AudioFormat
    ) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        raise AssertionError(text)


def frame(message: bytes) -> bytes:
    key = os.urandom(4)
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + key + mask(message, key)


def connection(seed: int = 1) -> Connection:
    _, stream = trio.testing.memory_stream_pair()
    random, behaviour = Random(seed), Behaviour(read_script(SCRIPT).switches)
    thinking, hearing = ScriptedThinking(read_script(SCRIPT)), partial(Hearing, judge=LevelJudge())
    session = Session("gpt-realtime-2.1", thinking, behaviour, random, hearing, prepared=PreparedSpeech())
    made = Connection(session, FaultyWire(behaviour, 0.0, random), WebSocket(stream, 1 << 20, 1 << 20), Nobody())
    made.feed(session.open(0.0, 0.0))
    made.feed(session.receive(msgspec.json.encode({"type": "session.update", "session": UPDATE}).decode(), 0.0))
    return made


def events(made: Connection) -> list[dict[str, Any]]:
    """What the session has sent since it was asked last."""
    sent = bytearray(b"".join(made.socket._outbox))
    made.socket._outbox.clear()
    return [msgspec.json.decode(payload) for _, payload in server_frames(sent)]


def test_only_a_lone_append_is_taken_apart_here() -> None:
    audio = stamp(QUIET[:FRAME_BYTES])
    plain = append_message(audio).encode()
    assert appended(frame(plain)) == audio
    assert appended(frame(plain) * 2) is None
    assert appended(frame(plain)[:-1]) is None
    assert appended(b"\x82" + frame(plain)[1:]) is None
    assert appended(frame(b'{"event_id":"e1",' + plain[1:])) is None
    assert appended(frame(plain.replace(b'"audio":"', b'"audio":"!'))) is None
    assert appended(b"") is None


async def test_turns_begin_and_end_in_the_same_frames_as_on_the_servers_own_way(autojump_clock: trio.testing.MockClock) -> None:
    speech = pcm16_to_ulaw(synthetic_speech(1, 2.0))
    line = QUIET * 2 + speech + QUIET * 3 + speech[: 40 * FRAME_BYTES] + QUIET * 2
    plain, cheap, seen = connection(), connection(), Seen()
    ear = ModelEar(cheap, seen)
    turns, most_unheard = 0, 0
    for at in range(0, len(line) - FRAME_BYTES, FRAME_BYTES):
        message = append_message(line[at : at + FRAME_BYTES])
        plain.feed(plain.session.receive(message, at / 8000))
        ear.take(frame(message.encode()), 1)
        most_unheard = max(most_unheard, len(ear._unheard))
        expected, heard = events(plain), events(cheap)
        assert heard == expected, at / 8000
        turns += sum(event["type"] == "input_audio_buffer.speech_stopped" for event in expected)
    assert turns == 2
    assert most_unheard == 9 * FRAME_BYTES
    assert seen.frames == at // FRAME_BYTES + 1


async def test_what_was_not_heard_yet_comes_before_any_other_message(autojump_clock: trio.testing.MockClock) -> None:
    made, seen = connection(), Seen()
    ear = ModelEar(made, seen)
    events(made)
    for _ in range(6):
        ear.take(frame(append_message(stamp(with_number(QUIET[:FRAME_BYTES], 7))).encode()), 1)
    assert events(made) == []
    ear.take(client_frame(1, b'{"type":"input_audio_buffer.commit"}'), 1)
    assert events(made)[0]["type"] == "input_audio_buffer.committed"  # of less than 100 ms it would be an error
    assert len(seen.up_ms) == 0  # the stamps are younger than the moment of arrival that was told
    assert seen.frames == 6


async def test_an_end_is_told(autojump_clock: trio.testing.MockClock) -> None:
    made = connection()
    ear = ModelEar(made, Seen())
    assert not ear.over.is_set()
    ear.take(b"", 1)
    assert ear.over.is_set()
    assert made.socket.ended == (1006, "the connection was lost")
