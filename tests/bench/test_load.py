"""The load generator's callers: each at its own pace, on the beat, and the same in each run."""

from itertools import pairwise
from random import Random

import msgspec
import trio
import trio.testing

from bench.load import FRAME_BYTES, FRAME_S, LoadCaller, Speaker, Totals, client_frame, server_frames

SPEECH, QUIET = b"\x00" * FRAME_BYTES * 150, b"\xff" * 8000
MEDIA = msgspec.json.encode({"event": "media", "media": {"payload": msgspec.json.encode(bytes(800)).decode().strip('"')}})


def spoken(number: int, seconds: float) -> list[bool]:
    """Which of a caller's frames are speech, after it heard 100 ms at the beginning."""
    caller = LoadCaller(number, SPEECH, QUIET, Totals(), Random(number))
    trio_clock = trio.testing.MockClock()

    async def main() -> list[bool]:
        caller._hear(MEDIA)
        return [caller._frame(count, count * FRAME_S, may_begin=True) in SPEECH for count in range(round(seconds / FRAME_S))]

    return trio.run(main, clock=trio_clock)


def test_callers_pause_and_speak_as_their_own_dice_say_and_the_same_in_each_run() -> None:
    first, second = spoken(1, 20.0), spoken(2, 20.0)
    assert first == spoken(1, 20.0)
    assert first != second
    assert 50 <= sum(first) <= 150  # one sentence, of one to three seconds: nobody has answered it


async def test_one_speaker_sends_everybodys_frames_on_the_beat(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.autojump_threshold = 0
    said: list[tuple[int, float]] = []

    class Silent(LoadCaller):
        def speak(self, connection: int, now: float) -> None:
            said.append((connection, now))

    totals, speaker = Totals(), Speaker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaker.run)
        with speaker.speaking_for(Silent(1, SPEECH, QUIET, totals, Random(1)), 7):
            await trio.sleep(0.5)
            with speaker.speaking_for(Silent(2, SPEECH, QUIET, totals, Random(2)), 8):
                await trio.sleep(0.5)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    for connection, most in ((7, 49), (8, 24)):
        times = [now for who, now in said if who == connection]
        assert most - 1 <= len(times) <= most
        assert {round(later - sooner, 6) for sooner, later in pairwise(times)} == {FRAME_S}
    assert max(totals.late_ms) < 1e-6


def test_a_frame_is_taken_apart_as_it_was_put_together() -> None:
    masked = bytearray(client_frame(1, b"x" * 200))
    assert masked[1] & 0x80
    plain = bytearray(b"\x81\x7e\x00\xc8" + b"x" * 200 + b"\x89\x00\x81")
    assert list(server_frames(plain)) == [(1, b"x" * 200), (9, b"")]
    assert plain == b"\x81"
