"""What the console watches: news when there is some, levels five times a second, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.testing
from attrs import define, field

from tests.web.test_app import live
from trio_voice.core.events import CallerAudio, Event
from trio_voice.core.states import CallState, ResponseState
from trio_voice.server.directory import CallDirectory, Handle, Standing
from trio_voice.storage.journal import JournalWriter
from trio_voice.web.access import Access
from trio_voice.web.calls_api import CallsApi
from trio_voice.web.console_feed import HEARTBEAT_LOOKS, LOOK_EVERY_S, ConsoleFeed


@define
class Rig:
    """A feed, and what it depends on."""

    directory: CallDirectory = field(factory=CallDirectory)
    draining: trio.Event = field(factory=trio.Event)
    why_not: str | None = None
    feed: ConsoleFeed = field(init=False)

    def __attrs_post_init__(self) -> None:
        api = CallsApi(access=Access("t"), directory=self.directory)
        self.feed = ConsoleFeed(self.directory, api.view, lambda: self.why_not, self.draining)

    async def next(self) -> tuple[float, dict[str, Any]]:
        """When the next piece came, and its events by name."""
        piece = (await anext(self.feed)).decode()
        events = {}
        for event in piece.strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.split("\n"))
            events[fields["event"] if "event" in fields else fields[""]] = json.loads(fields.get("data", "null"))
        return trio.current_time(), events


async def test_the_first_piece_comes_at_once_and_then_only_news(autojump_clock: trio.testing.MockClock) -> None:
    rig, began = Rig(), trio.current_time()
    assert await rig.next() == (began, {"calls": {"calls": [], "why_not": None}})
    async with trio.open_nursery() as nursery:

        async def be_told() -> None:
            at, events = await rig.next()
            assert (round(at - began, 6), events) == (1.2, {"calls": {"calls": [], "why_not": "draining"}})

        nursery.start_soon(be_told)
        await trio.sleep(LOOK_EVERY_S * 5.5)
        rig.why_not = "draining"


async def test_a_feed_without_news_says_that_it_is_alive(autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig()
    began, _ = await rig.next()
    at, events = await rig.next()
    assert round(at - began, 6) == HEARTBEAT_LOOKS * LOOK_EVERY_S == 15.0
    assert events == {"alive": None}


async def test_a_calls_state_and_levels_are_told_when_they_change(autojump_clock: trio.testing.MockClock) -> None:
    rig, call, writer = Rig(), live(), JournalWriter()
    state = Standing(CallState.GREETING, ResponseState.ACTIVE)

    def feed(_event: Event) -> None:
        raise AssertionError("the feed only looks")

    with rig.directory.registered(call):
        call.handle = Handle(feed, lambda: state)
        _, events = await rig.next()
        (view,) = events["calls"]["calls"]
        assert (view["call_id"], view["state"], view["response"]) == ("c1", "greeting", "active")
        assert events["levels"] == {"c1": [None, None]}
        call.measure(writer.event(call.duration_s, CallerAudio(bytes(160), -30.0)))
        assert (await rig.next())[1] == {"levels": {"c1": [-30.0, None]}}
        state = Standing(CallState.CONVERSING, ResponseState.IDLE)
        _, events = await rig.next()
        assert [each["state"] for each in events["calls"]["calls"]] == ["conversing"]
    _, events = await rig.next()
    assert events == {"calls": {"calls": [], "why_not": None}, "levels": {}}


async def test_it_ends_with_the_last_call_of_a_server_that_drains(autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig()
    with rig.directory.registered(live()):
        await rig.next()
        rig.draining.set()
        _, events = await rig.next()
        assert events == {"alive": None}, "a call is still in progress"
    _, events = await rig.next()
    assert events.keys() == {"calls", "levels"}
    assert [piece async for piece in rig.feed] == []
