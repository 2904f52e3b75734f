"""Finding live calls, and watching them without slowing them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_voice.core.events import CallerAudio
from trio_voice.server.directory import FEED_CHARACTERS, FEED_LINES, METER_RUNS_S, CallDirectory, LinesLost, LiveCall
from trio_voice.storage.journal import JournalWriter
from trio_voice.storage.meter import Levels


def live(call_id: str = "c1", call_sid: str = "CA1") -> LiveCall:
    return LiveCall(call_id, call_sid, datetime(2026, 11, 21, tzinfo=UTC), Path("calls") / call_id)


async def everything(call: LiveCall) -> list[str | LinesLost]:
    return [line async for line in call.follow()]


# --- the feed ----------------------------------------------------------------------------------------------------------


async def test_every_reader_gets_the_whole_call_whenever_it_came() -> None:
    call = live()
    early: list[str | LinesLost] = []

    async def read_early() -> None:
        early.extend(await everything(call))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_early)
        await trio.testing.wait_all_tasks_blocked()
        call.publish("header")
        call.publish("one")
        await trio.testing.wait_all_tasks_blocked()
        assert early == []  # collected at the end
        call.publish("two")
        call.end()
    assert early == await everything(call) == ["header", "one", "two"]


async def test_a_line_is_read_at_the_moment_it_is_published(autojump_clock: trio.testing.MockClock) -> None:
    call = live()
    seen: list[tuple[float, str | LinesLost]] = []

    async def read() -> None:
        async for line in call.follow():
            seen.append((trio.current_time(), line))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        began = trio.current_time()
        for number in range(3):
            await trio.sleep(1)
            call.publish(str(number))
        await trio.sleep(1)
        call.end()
    assert seen == [(began + 1, "0"), (began + 2, "1"), (began + 3, "2")]
    assert trio.current_time() == began + 4


async def test_a_ring_of_exactly_its_length_loses_nothing_and_one_line_more_is_told() -> None:
    call = live()
    call.publish("header")
    lines = [str(number) for number in range(FEED_LINES + 1)]
    for line in lines[:-1]:
        call.publish(line)
    feed, late = call.follow(), call.follow()
    assert await anext(feed) == "header"
    assert await anext(late) == "header"
    assert await anext(feed) == "0"
    call.publish(lines[-1])
    call.end()
    assert [line async for line in feed] == lines[1:]
    assert [line async for line in late] == [LinesLost(1), *lines[1:]]


async def test_a_slow_reader_loses_lines_and_is_told_how_many_each_time() -> None:
    call = live()
    call.publish("header")
    call.publish("a")
    feed = call.follow()
    assert [await anext(feed), await anext(feed)] == ["header", "a"]
    for number in range(FEED_LINES + 7):
        call.publish(str(number))
    assert await anext(feed) == LinesLost(7)
    assert await anext(feed) == "7"
    for number in range(2 * FEED_LINES):
        call.publish(f"again {number}")
    call.end()
    rest = [line async for line in feed]
    assert rest[: FEED_LINES - 1] == [str(number) for number in range(8, FEED_LINES + 7)]
    assert rest[FEED_LINES - 1] == LinesLost(FEED_LINES)
    assert rest[FEED_LINES:] == [f"again {number}" for number in range(FEED_LINES, 2 * FEED_LINES)]


async def test_lines_are_kept_up_to_exactly_so_many_characters_and_one_that_is_longer_is_lost() -> None:
    call = live()
    call.publish("header")
    half = "x" * (FEED_CHARACTERS // 2)
    for line in ("old", half, half):
        call.publish(line)
    assert await what_is_kept(call) == [LinesLost(1), half, half]
    call.publish("x")
    assert await what_is_kept(call) == [LinesLost(2), half, "x"]
    call.publish("x" * (FEED_CHARACTERS + 1))
    assert await what_is_kept(call) == [LinesLost(5)]
    call.publish("after")
    call.end()
    assert await everything(call) == ["header", LinesLost(5), "after"]


async def what_is_kept(call: LiveCall) -> list[str | LinesLost]:
    """All that a reader who comes now gets at once."""
    return await call.lines_from(1)


async def test_waiting_for_a_line_can_be_cancelled_and_taken_up_again(autojump_clock: trio.testing.MockClock) -> None:
    call = live()
    feed = call.follow()
    call.publish("header")
    assert await anext(feed) == "header"
    with trio.move_on_after(15) as scope:
        await anext(feed)
    assert scope.cancelled_caught
    call.publish("one")
    assert await anext(feed) == "one"


async def test_a_call_that_ends_before_its_header_is_an_empty_feed() -> None:
    call = live()
    call.end()
    assert await everything(call) == []


# --- the directory -----------------------------------------------------------------------------------------------------


async def test_a_call_is_found_while_its_block_lasts_and_its_feed_ends_with_it() -> None:
    directory = CallDirectory()
    with directory.registered(live()) as call:
        call.publish("header")
        assert directory.find("CA1") is call
        assert directory.find("c1") is None
        assert (len(directory), list(directory)) == (1, [call])
    assert directory.find("CA1") is None
    assert (len(directory), list(directory)) == (0, [])
    assert await everything(call) == ["header"]


async def test_a_call_that_fails_leaves_the_directory_too() -> None:
    directory = CallDirectory()
    with pytest.raises(ZeroDivisionError), directory.registered(live()):
        raise ZeroDivisionError
    assert len(directory) == 0


async def test_of_two_streams_of_one_call_the_newest_is_found() -> None:
    directory = CallDirectory()
    with directory.registered(live("old")):
        with directory.registered(live("new")) as new:
            assert directory.find("CA1") is new
        found = directory.find("CA1")
        assert found is not None
        assert found.call_id == "old"


async def test_waiting_finds_a_call_at_the_moment_it_begins(autojump_clock: trio.testing.MockClock) -> None:
    directory = CallDirectory()
    found: list[tuple[float, LiveCall | None]] = []

    async def wait(call_sid: str) -> None:
        call = await directory.wait_for(call_sid, 5.0)
        found.append((trio.current_time(), call))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "CA2")
        began = trio.current_time()
        await trio.sleep(1)
        with directory.registered(live()):
            await trio.sleep(1)
            with directory.registered(live("c2", "CA2")) as second:
                await trio.sleep(1)
    assert found == [(began + 2, second)]


async def test_waiting_for_a_call_that_never_comes_ends_after_exactly_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    assert await CallDirectory().wait_for("CA1", 5.0) is None
    assert trio.current_time() - began == 5.0


async def test_waiting_for_the_last_call_to_end(autojump_clock: trio.testing.MockClock) -> None:
    directory = CallDirectory()
    began = trio.current_time()
    assert await directory.wait_empty(5.0)
    assert trio.current_time() == began

    async def be_called(duration_s: float) -> None:
        with directory.registered(live(str(duration_s))):
            await trio.sleep(duration_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_called, 2.0)
        nursery.start_soon(be_called, 4.0)
        await trio.testing.wait_all_tasks_blocked()
        assert not await directory.wait_empty(3.0)
        assert trio.current_time() - began == 3.0
        assert await directory.wait_empty(3.0)
        assert trio.current_time() - began == 4.0


async def test_a_call_is_named_by_either_id() -> None:
    directory, call = CallDirectory(), live("c1", "CA1")
    with directory.registered(call):
        assert directory.named("c1") is directory.named("CA1") is call
        assert directory.named("c2") is None


async def test_levels_are_measured_only_while_somebody_looks(autojump_clock: trio.testing.MockClock) -> None:
    call, writer = live(), JournalWriter()

    def hear(level_dbfs: float) -> None:
        call.measure(writer.event(call.duration_s, CallerAudio(bytes(160), level_dbfs)))

    hear(-10.0)
    assert call.levels() == Levels(None), "nobody had looked"
    hear(-20.0)
    assert call.levels() == Levels(-20.0)
    await trio.sleep(METER_RUNS_S)
    hear(-30.0)
    assert call.levels() == Levels(None), "nobody has looked for too long, and the look begins anew"
    hear(-40.0)
    assert call.levels() == Levels(-40.0)
