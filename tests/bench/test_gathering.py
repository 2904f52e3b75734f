"""Many sockets are read together, with the moment at which their bytes came."""

import time
from functools import partial

import trio

from bench.gathering import Gathering


async def test_all_that_came_is_taken_with_its_moment_and_the_end_once() -> None:
    gathering, took = Gathering(), list[tuple[int, bytes, int]]()
    began_ns = time.monotonic_ns()
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    far = [await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) for _ in range(2)]
    near = [await listener.accept() for _ in range(2)]

    def take(number: int, data: bytes, arrived_ns: int) -> None:
        took.append((number, data, arrived_ns))

    with gathering.reading(near[0], partial(take, 0)), gathering.reading(near[1], partial(take, 1)):
        gathering.read()
        assert took == []
        await far[0].send_all(b"one")
        await far[1].send_all(b"two")
        gathering.read()
        assert {each[:2] for each in took} == {(0, b"one"), (1, b"two")}
        assert all(began_ns < arrived_ns <= time.monotonic_ns() + 1_000_000 for _, _, arrived_ns in took)
        took.clear()
        await far[0].aclose()
        gathering.read()
        gathering.read()
        assert [each[:2] for each in took] == [(0, b"")]
    await far[1].send_all(b"three")
    gathering.read()
    assert len(took) == 1
    for stream in (*near, far[1], listener):
        await stream.aclose()
