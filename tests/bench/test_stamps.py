"""A moment goes through audio and comes back."""

import socket
import time

from bench.stamps import ANCILLARY_BYTES, age_ms, arrival_ns, clocks_apart_ns, number, stamp, tell_arrivals, with_number

FRAME = bytes(range(0x80, 0x80 + 80)) * 2


def test_a_stamp_tells_its_age_at_the_arrival_and_leaves_the_rest_alone() -> None:
    stamped = stamp(FRAME)
    assert stamped[16:] == FRAME[16:]
    moment = int("".join(f"{byte & 0x0F:x}" for byte in stamped[:16]), 16)
    assert age_ms(stamped, moment + 1_500_000) == 1.5


def test_audio_without_a_stamp_has_no_age() -> None:
    now = time.monotonic_ns()
    for audio in (FRAME, b"", b"\xff" * 15, b"\xff" * 160):
        assert age_ms(audio, now) is None


def test_a_number_stands_beside_the_moment() -> None:
    marked = with_number(stamp(FRAME), 513)
    assert number(marked) == 513
    assert age_ms(marked, time.monotonic_ns()) is not None


def test_the_kernel_tells_when_it_came_however_late_it_is_read() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as far,
        server.accept()[0] as near,
    ):
        tell_arrivals(near)
        told_ms: list[float] = []
        while not told_ms or (told_ms[-1] > 80 and len(told_ms) < 20):  # the kernel begins to stamp a moment after it was asked
            far.sendall(b"x")
            sent_at = time.monotonic_ns()
            time.sleep(0.1)  # noqa: TID251 - a reader that is late is what is tested
            told_ms.append((arrival_ns(near.recvmsg(10, ANCILLARY_BYTES)[1], clocks_apart_ns()) - sent_at) / 1e6)
    assert told_ms[-1] < 80
