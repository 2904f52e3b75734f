"""A caller who lets nobody finish: it says its whole sentence, and notices audio that comes after the clear."""

from random import Random

from bench.interruptions import Clear, InterruptingCaller
from bench.load import FRAME_BYTES, FRAME_S, Totals

SPEECH, QUIET = b"\x00" * FRAME_BYTES * 75, b"\xff" * 8000
MEDIA = b'{"event":"media","media":{"payload":"' + b"AAAA" * 8000 + b'"}}'  # three seconds


def test_it_interrupts_with_a_whole_sentence_and_counts_what_comes_after_the_clear() -> None:
    clears: list[Clear] = []
    caller = InterruptingCaller(1, SPEECH, QUIET, Totals(), random=Random(1), clears=clears)
    caller._hear(MEDIA, 0.0)
    speaks = [caller._next_sound(count * FRAME_S, may_begin=True) in caller._speech for count in range(61)]
    assert speaks == [False] * 51 + [True] * 10  # after a second
    caller._arrived_ns = 1_210_000_000
    caller._hear(b'{"event":"clear"}', 1.21)
    assert clears == [Clear(1, 1.21, 1210.0)]
    caller._hear(MEDIA, 1.22)
    assert caller.late_bytes == 24000
    assert sum(caller._next_sound(1.22 + count * FRAME_S, may_begin=True) in caller._speech for count in range(75)) == 65
    caller._hear(MEDIA, 3.0)
    assert caller.late_bytes == 24000  # nobody speaks: it is the answer
