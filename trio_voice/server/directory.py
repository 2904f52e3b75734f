"""Which calls are live, and a feed of what happens in each.

Publishing is a plain function that never waits: a call must not be slowed by the people who watch it. A call's last lines are
kept in one ring; each reader has its own place in it, and one who falls behind the ring loses lines and is told how many.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import trio
from attrs import define, field, frozen

from trio_voice.agent.agent import Agent
from trio_voice.core.events import Event, HangUpAsked, TextInjected
from trio_voice.core.states import CallState, ResponseState
from trio_voice.server.latest_lines import LatestLines
from trio_voice.storage.meter import Levels, Meter

FEED_LINES = 500
"""How many of a call's latest lines are kept."""
FEED_CHARACTERS = 256 * 1024
"""How long they may be together: what a peer says is in them, and it may say much at once."""
METER_RUNS_S = 2.0
"""How long after a look at a call's levels they are still measured: nobody who watches costs nothing."""


@frozen
class LinesLost:
    """A reader was too slow, or came too late, for this many lines."""

    count: int


@frozen
class Standing:
    """Where a call stands, for those who look at it from outside."""

    call: CallState
    response: ResponseState


@frozen
class Handle:
    """What can be done from outside with a call whose state machine lives."""

    feed: Callable[[Event], None]
    standing: Callable[[], Standing]
    queued_bytes: Callable[[], int] = lambda: 0
    """How much waits to be read by the caller's carrier."""
    hand_off: Callable[[Agent], None] = lambda _agent: None
    """Lets another agent go on."""


@define(eq=False)
class LiveCall:
    """A call in progress. The first line published is its header: every reader gets it first, however late it comes."""

    call_id: str
    call_sid: str
    started_at: datetime
    folder: Path
    """Where the call's files are."""
    dialect: str = ""
    """The name of the carrier's dialect."""
    caller: str | None = None
    """The number that calls, where the carrier says so."""
    called: str | None = None
    """The number that was called, where the carrier says so."""
    began: float = field(factory=trio.current_time)
    """When it started, on Trio's clock."""
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    """The call lives in it: cancelled, it ends at once, with its sockets closed and its journal complete."""
    handle: Handle | None = field(default=None, init=False)
    """None until the call's state machine lives."""
    _header: bytes | None = field(default=None, init=False)
    """Compressed: all settings are in it, and it waits for readers who may never come."""
    _lines: LatestLines = field(factory=lambda: LatestLines(FEED_LINES, FEED_CHARACTERS), init=False)
    """All but the header."""
    _over: bool = field(default=False, init=False)
    _meter: Meter = field(factory=Meter, init=False)
    metered_until: float = field(default=0.0, init=False)
    """Until when somebody may look at the levels, on Trio's clock; 0.0: nobody does."""
    _waiting: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def duration_s(self) -> float:
        """How long the call has lasted."""
        return round(trio.current_time() - self.began, 3)

    def hang_up(self, reason: str) -> bool:
        """Have the call end politely; False: it does not live yet, or not any more."""
        return self._feed(HangUpAsked(reason))

    def part(self, reason: str) -> bool:
        """Have the agent say goodbye now, because the server is ending; False as above."""
        return self._feed(HangUpAsked(reason, farewell=True))

    def say(self, text: str) -> bool:
        """Have the agent say this soon; False as above."""
        return self._feed(TextInjected(text))

    def hand_off(self, agent: Agent) -> bool:
        """Let another agent go on with the call; False as above."""
        handle = self._living()
        if handle is not None:
            handle.hand_off(agent)
        return handle is not None

    def _feed(self, event: Event) -> bool:
        handle = self._living()
        if handle is not None:
            handle.feed(event)
        return handle is not None

    def _living(self) -> Handle | None:
        is_over = self.handle is None or self._over or self.handle.standing().call is CallState.CLOSED
        return None if is_over else self.handle

    def publish(self, line: str) -> None:
        """Give a journal line to all readers. It never waits; leave out the lines of single audio frames."""
        if self._header is None:
            self._header = zlib.compress(line.encode())
        else:
            self._lines.append(line)
        if self._waiting:
            self._waiting.unpark_all()

    def measure(self, line: str) -> None:
        """Take lines, those of single frames too, for the levels; nothing is done with them while nobody looks at them."""
        if self.metered_until and self._is_measured():
            for one in line.split("\n"):
                self._meter.take(one)

    def _is_measured(self) -> bool:
        if trio.current_time() >= self.metered_until:
            self.metered_until = 0.0
        return self.metered_until > 0.0

    def levels(self) -> Levels:
        """How loud both sides are. The first look begins to measure, so that it finds nothing yet."""
        if not self._is_measured():
            self._meter = Meter()
        self.metered_until = trio.current_time() + METER_RUNS_S
        return self._meter.levels(self.duration_s)

    def end(self) -> None:
        """End the feed: readers get what is left, and then the end."""
        self._over = True
        self._waiting.unpark_all()

    def follow(self) -> Feed:
        """Read the call from its header to its end, as it goes: `async for line in call.follow()`."""
        return Feed(self)

    async def lines_from(self, place: int) -> list[str | LinesLost]:
        """Wait for lines from number `place` on (the header is number 0); none: the call is over."""
        while self._header is None or self._lines.count < place:
            if self._over:
                return []
            await self._waiting.park()
        if place == 0:
            return [zlib.decompress(self._header).decode()]
        lost, lines = self._lines.since(place - 1)
        return [LinesLost(lost), *lines] if lost else list(lines)


@define(eq=False)
class Feed:
    """One reader's place in a call: an async iterator of lines, with `LinesLost` where some are missing."""

    _call: LiveCall
    _place: int = field(default=0, init=False)
    _ready: deque[str | LinesLost] = field(factory=deque, init=False)

    def __aiter__(self) -> Feed:
        """Iterate over itself."""
        return self

    async def __anext__(self) -> str | LinesLost:
        """Wait for the next line. It may be cancelled and called again without losing one."""
        await trio.lowlevel.checkpoint()
        if not self._ready:
            self._ready.extend(await self._call.lines_from(self._place))
        if not self._ready:
            raise StopAsyncIteration
        line = self._ready.popleft()
        self._place += line.count if isinstance(line, LinesLost) else 1
        return line


@define(eq=False)
class CallDirectory:
    """All calls in progress in this process."""

    _calls: dict[str, LiveCall] = field(factory=dict, init=False)
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    def __len__(self) -> int:
        """How many calls are in progress."""
        return len(self._calls)

    def __iter__(self) -> Iterator[LiveCall]:
        """The calls in progress, the oldest first."""
        return iter(tuple(self._calls.values()))

    @contextmanager
    def registered(self, call: LiveCall) -> Iterator[LiveCall]:
        """Have the call in the directory for the time of the block; its feed ends with it."""
        self._calls[call.call_id] = call
        self._changed.unpark_all()
        try:
            yield call
        finally:
            del self._calls[call.call_id]
            self._changed.unpark_all()
            call.end()

    def find(self, call_sid: str) -> LiveCall | None:
        """Find the call that the carrier knows as `call_sid`; the newest, if it opened several streams."""
        return next((call for call in reversed(self._calls.values()) if call.call_sid == call_sid), None)

    def named(self, name: str) -> LiveCall | None:
        """Find a call by our id of it, or by the carrier's."""
        return self._calls.get(name) or self.find(name)

    async def wait_for(self, call_sid: str, timeout_s: float) -> LiveCall | None:
        """Find the call by either id, or wait up to `timeout_s` for it to begin."""
        with trio.move_on_after(timeout_s):
            while (call := self.named(call_sid)) is None:
                await self._changed.park()
            return call
        return None

    async def wait_empty(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` for the last call to end; tell whether it did."""
        with trio.move_on_after(timeout_s):
            while self._calls:
                await self._changed.park()
        return not self._calls
