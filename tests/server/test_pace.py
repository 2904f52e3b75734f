"""One after the other, with a gap between; and connections that are accepted so."""

from __future__ import annotations

import trio
import trio.testing
from attrs import define

from trio_voice.server.pace import Pace, PacedListener


async def test_who_comes_alone_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(0.25)
    for _ in range(3):
        before = trio.current_time()
        await pace.turn()
        assert trio.current_time() == before
        await trio.sleep(0.25)


async def test_who_comes_alone_does_not_even_let_the_others_run_first(autojump_clock: trio.testing.MockClock) -> None:
    pace, ran = Pace(0.25), []

    async def other() -> None:
        ran.append("the other")
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await pace.turn()
        assert ran == []
        await pace.turn()
        assert ran == ["the other"]


async def test_who_come_at_once_go_one_after_the_other_in_their_order(autojump_clock: trio.testing.MockClock) -> None:
    pace, went = Pace(0.25), []

    async def go(name: str) -> None:
        await pace.turn()
        went.append((name, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(go, name)
            await trio.testing.wait_all_tasks_blocked()
    assert went == [("a", 0.0), ("b", 0.25), ("c", 0.5), ("d", 0.75)]


async def test_who_gives_up_leaves_its_turn_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    pace, went = Pace(0.25), []

    async def go() -> None:
        await pace.turn()
        went.append(trio.current_time())

    await pace.turn()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.125):
            nursery.start_soon(go)
            await pace.turn()
        nursery.start_soon(go)
    assert went == [0.25, 0.5]


async def test_a_step_that_takes_longer_is_not_made_up_for(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(0.25)
    await pace.turn()
    await trio.sleep(10)
    await pace.turn()
    await pace.turn()
    assert trio.current_time() == 10.25


@define(eq=False)
class Crowd(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """A listener at which so many have connected already."""

    left: int
    is_closed: bool = False

    async def accept(self) -> trio.abc.HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        if not self.left:
            await trio.sleep_forever()
        self.left -= 1
        return trio.testing.memory_stream_pair()[0]

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def test_r40_connections_that_come_at_once_are_accepted_at_the_pace_on_all_listeners_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pace, at = Pace(2**-9), []

    async def handle(_stream: trio.abc.HalfCloseableStream) -> None:
        at.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    crowds = [Crowd(50), Crowd(50)]
    with trio.move_on_after(10):
        await trio.serve_listeners(handle, [PacedListener(crowd, pace) for crowd in crowds])
    assert len(at) == 100
    assert at == [count * 2**-9 for count in range(100)]
    assert all(crowd.is_closed for crowd in crowds)
