"""The load generator's callers: each at its own pace, on the beat, the same in each run; what leaves them is what they say."""

import time
from base64 import b64decode
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from socket import socket, socketpair

import msgspec
import pytest
import trio
import trio.testing

from bench.load import FRAME_BYTES, FRAME_S, LoadCaller, Speaker, Totals, client_frame, server_frames
from bench.stamps import age_ms, number

SPEECH, QUIET = b"\x00" * FRAME_BYTES * 150, bytes(0xF8 | at * 7 % 8 for at in range(8000))
MADE_LATE = 21
"""Bytes of a frame: the moment and the caller's number, which are put in when it is sent."""
MEDIA = b'{"event":"media","media":{"payload":"' + b"AAAA" * 267 + b'"}}'  # 100 ms
MARK = b'{"event":"mark","mark":{"name":"m1"}}'


@pytest.fixture
def ends() -> Iterator[tuple[socket, socket]]:
    near, far = socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def from_system(payload: bytes) -> bytes:
    """An unmasked text frame of a server."""
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def said(far: socket) -> list[dict[str, str]]:
    """The messages that have come to the system; the mask is 0."""
    data, messages = far.recv(1 << 20), []
    while data:
        assert data[0] == 0x81
        assert data[1] & 0x80
        head = 4 if data[1] & 0x7F == 126 else 2
        size = int.from_bytes(data[2:4], "big") if head == 4 else data[1] & 0x7F
        assert data[head : head + 4] == bytes(4)
        messages.append(msgspec.json.decode(data[head + 4 : head + 4 + size]))
        data = data[head + 4 + size :]
    return messages


def spoken(number: int, seconds: float) -> list[bool]:
    """Which of a caller's frames are speech, after it heard 100 ms at the beginning."""
    caller = LoadCaller(number, SPEECH, QUIET, Totals(), Random(number))
    caller._hear(MEDIA, 0.0)
    sounds = [caller._next_sound(count * FRAME_S, may_begin=True) for count in range(round(seconds / FRAME_S))]
    return [sound in caller._speech for sound in sounds]


def test_callers_pause_and_speak_as_their_own_dice_say_and_the_same_in_each_run() -> None:
    first, second = spoken(1, 20.0), spoken(2, 20.0)
    assert first == spoken(1, 20.0)
    assert first != second
    assert 50 <= sum(first) <= 150  # one sentence, of one to three seconds: nobody has answered it


def test_a_frame_has_its_audio_its_moment_and_its_caller(ends: tuple[socket, socket]) -> None:
    near, far = ends
    caller = LoadCaller(513, SPEECH, QUIET, Totals(), Random(1))
    for count in range(3):
        caller.speak(near.fileno(), count * FRAME_S)
    messages = said(far)
    assert [message["sequenceNumber"] for message in messages] == ["2", "3", "4"]
    assert {message["streamSid"] for message in messages} == {f"MZ{513:032x}"}
    for count, message in enumerate(messages, 1):
        media = msgspec.convert(message["media"], dict[str, str])
        assert (media["chunk"], media["timestamp"]) == (str(count), str(count * 20 - 20))
        audio = b64decode(media["payload"], validate=True)
        assert audio[MADE_LATE:] == QUIET[count * FRAME_BYTES + MADE_LATE : (count + 1) * FRAME_BYTES]
        assert number(audio) == 513
        age = age_ms(audio, time.monotonic_ns())
        assert age is not None
        assert age < 10_000
    assert caller.totals.frames_sent == 3


def test_what_the_system_does_not_read_waits_in_order_and_then_is_counted_as_not_sent(ends: tuple[socket, socket]) -> None:
    near, far = ends
    caller = LoadCaller(1, SPEECH, QUIET, Totals(), Random(1))
    while not caller.totals.unsent_frames:
        caller.speak(near.fileno(), 0.0)
    read = bytearray()
    while True:
        try:
            read += far.recv(1 << 20)
        except BlockingIOError:
            if not caller._unsent:
                break
            caller.speak(near.fileno(), 0.0)
    assert read.count(b'"event":"media"') == caller.totals.frames_sent
    assert caller.totals.frames_sent + caller.totals.unsent_frames == caller._frames


async def test_a_mark_is_answered_when_what_came_before_it_has_been_played(
    ends: tuple[socket, socket], mock_clock: trio.testing.MockClock
) -> None:
    near, far = ends
    caller = LoadCaller(1, SPEECH, QUIET, Totals(), Random(1))
    assert caller.take(from_system(MEDIA) + from_system(MARK), time.monotonic_ns())  # it came at 0
    caller.speak(near.fileno(), 0.09)
    caller.speak(near.fileno(), 0.11)
    assert [message["event"] for message in said(far)] == ["media", "mark", "media"]
    assert caller.totals.heard_bytes == 801


async def test_what_came_before_it_was_read_was_played_from_then_on(
    ends: tuple[socket, socket], mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.jump(1.0)
    near, far = ends
    caller = LoadCaller(1, SPEECH, QUIET, Totals(), Random(1))
    caller.take(from_system(MEDIA) + from_system(MARK), time.monotonic_ns() - 50_000_000)  # it came at 0.95
    caller.speak(near.fileno(), 1.04)
    caller.speak(near.fileno(), 1.06)
    assert [message["event"] for message in said(far)] == ["media", "mark", "media"]


async def test_a_call_that_the_system_ends_is_counted_once(mock_clock: trio.testing.MockClock) -> None:
    caller = LoadCaller(1, SPEECH, QUIET, Totals(), Random(1))
    assert not caller.take(b"\x88\x02\x03\xe8", time.monotonic_ns())
    assert not caller.take(b"", time.monotonic_ns())
    assert caller.totals.ended_early == 1


@pytest.mark.parametrize("unhurried_s", [0.0, 0.01])
async def test_one_speaker_sends_everybodys_frames_on_the_beat(
    unhurried_s: float, ends: tuple[socket, socket], mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock_clock.autojump_threshold = 0
    monkeypatch.setattr(time, "sleep", mock_clock.jump)
    spoken_at: list[tuple[int, float]] = []

    class Silent(LoadCaller):
        def speak(self, connection: int, now: float) -> None:
            spoken_at.append((connection, now))

    totals, speaker = Totals(), Speaker(unhurried_s)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ends[0]))
    first, second = (Silent(number, SPEECH, QUIET, totals, Random(number)) for number in (1, 2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaker.run)
        with trio.CancelScope() as scope, speaker.heard_by(first, stream, scope):
            with speaker.speaking_for(first, 7):
                await trio.sleep(0.5)
                with speaker.speaking_for(second, 8):
                    await trio.sleep(0.5)
            await trio.sleep(0.5)
            assert trio.current_time() == pytest.approx(1.5, abs=2 * unhurried_s + 1e-9)
            ends[1].close()
            await trio.sleep(0.5)
        assert scope.cancelled_caught  # it was heard that the system had ended the call
        nursery.cancel_scope.cancel()
    for connection, most in ((7, 50), (8, 25)):
        times = [now for who, now in spoken_at if who == connection]
        assert most - 1 <= len(times) <= most + bool(unhurried_s)
        assert {round(later - sooner, 6) for sooner, later in pairwise(times)} == {FRAME_S}
    assert max(totals.late_ms) < 1e-6


def test_a_frame_is_taken_apart_as_it_was_put_together() -> None:
    masked = bytearray(client_frame(1, b"x" * 200))
    assert masked[1] & 0x80
    plain = bytearray(b"\x81\x7e\x00\xc8" + b"x" * 200 + b"\x89\x00\x81")
    assert list(server_frames(plain)) == [(1, b"x" * 200), (9, b"")]
    assert plain == b"\x81"
