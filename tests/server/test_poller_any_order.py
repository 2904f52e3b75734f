"""Whatever is done to watched sockets, in whatever order, and by their own functions: every watch ends, and the poller rests."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from enum import Enum

import pytest
import trio
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_voice.server.poller import Poller, Want, current_poller, polling

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
LIMIT_S = 20.0
PLACES = 3


class Deed(Enum):
    """What is done with the socket at a place, from outside, or by the function of a socket that is served."""

    WATCH = "watch"
    SEND = "send something to it"
    HANG_UP = "end its other side"
    RELEASE = "release it"
    CANCEL = "cancel who watches it"
    CLOSE = "release and close it"
    CLOSE_SILENTLY = "close it and tell nobody; another gets its number"
    PASS = "let the others run"


class Says(Enum):
    """What a function says when it has read, and done its deed."""

    MORE = "more"
    TURN = "turn"
    END = "end"
    RAISE = "raise"


Step = tuple[Deed, int]
deeds = st.tuples(st.sampled_from(Deed), st.integers(0, PLACES - 1))
in_function = st.tuples(st.sampled_from([deed for deed in Deed if deed is not Deed.WATCH]), st.integers(0, PLACES - 1))
reactions = st.lists(st.tuples(in_function, st.sampled_from(Says)), max_size=3)


class Raised(Exception):  # noqa: N818 - what a function raised
    """An error of a function's."""


@define(eq=False)
class World:
    """Sockets at places, and who watches them."""

    poller: Poller
    nursery: trio.Nursery
    reactions: Sequence[Sequence[tuple[Step, Says]]]
    opened: ExitStack
    """Closes every socket that there was: one that a failed walk left would be held against whichever test comes next."""
    near: list[socket.socket] = field(factory=list)
    far: list[socket.socket] = field(factory=list)
    scopes: list[trio.CancelScope] = field(factory=list)
    begun: int = 0
    ended: list[str] = field(factory=list)

    def fill(self, place: int) -> None:
        near, far = map(self.opened.enter_context, socket.socketpair())
        near.setblocking(False)
        far.setblocking(False)
        if place == len(self.near):
            self.near.append(near)
            self.far.append(far)
            self.scopes.append(trio.CancelScope())
        else:
            self.near[place], self.far[place] = near, far

    def do(self, deed: Deed, place: int) -> None:
        near = self.near[place]
        match deed:
            case Deed.SEND:
                with suppress(OSError):  # it was ended
                    self.far[place].send(b"something")
            case Deed.HANG_UP:
                self.far[place].close()
            case Deed.RELEASE:
                self.poller.release(near.fileno())
            case Deed.CANCEL:
                self.scopes[place].cancel()
            case Deed.CLOSE | Deed.CLOSE_SILENTLY:
                if deed is Deed.CLOSE:
                    self.poller.release(near.fileno())
                near.close()
                self.far[place].close()
                self.fill(place)
            case Deed.WATCH:
                self.scopes[place] = scope = trio.CancelScope()
                self.nursery.start_soon(self.watch, place, near, scope, self.begun)
                self.begun += 1
            case Deed.PASS:
                pass

    async def watch(self, place: int, near: socket.socket, scope: trio.CancelScope, number: int) -> None:
        left = list(self.reactions[number % len(self.reactions)]) if self.reactions else []

        def readable() -> Want:
            try:
                is_over = near.recv(100) == b""
            except BlockingIOError:
                is_over = False
            except OSError:
                return Want.END
            if not left:
                return Want.END if is_over else Want.MORE
            (deed, where), says = left.pop()
            self.do(deed, where)
            if says is Says.RAISE:
                raise Raised
            return Want.END if is_over else Want[says.name]

        how = "was cancelled"
        try:
            with scope:
                await self.poller.watch(near.fileno(), readable, patient=number % 2 == 1)
                how = "had enough"
        except trio.ClosedResourceError:
            how = "was closed"
        except trio.BusyResourceError:
            how = "was not the first"
        except Raised:
            how = "raised"
        finally:
            self.ended.append(how)


async def live(steps: Sequence[Step], reactions: Sequence[Sequence[tuple[Step, Says]]]) -> list[str]:
    with ExitStack() as opened, trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as background:
            with polling(background):
                poller = current_poller()
                assert poller is not None
                async with trio.open_nursery() as watching:
                    world = World(poller, watching, reactions, opened)
                    for place in range(PLACES):
                        world.fill(place)
                    for deed, place in steps:
                        world.do(deed, place)
                        if deed is Deed.PASS:
                            for _ in range(5):
                                await trio.lowlevel.checkpoint()
                    for place in range(PLACES):
                        poller.release(world.near[place].fileno())
                    watching.cancel_scope.cancel()
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            for near, far in zip(world.near, world.far, strict=True):
                far.close()  # which would wake the poller for any socket that it still knows
                near.setblocking(False)
            assert poller._waits.by_number == {}
            assert (poller._patient, poller._again) == (0, [])
            assert poller._sets.both.poll(0) == []
            assert len(background.child_tasks) == 1
            background.cancel_scope.cancel()
    assert len(world.ended) == world.begun
    return world.ended


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(deeds, max_size=25), reactions=st.lists(reactions, max_size=4))
def test_any_order_of_deeds(steps: list[Step], reactions: list[list[tuple[Step, Says]]]) -> None:
    trio.run(live, steps, reactions)


def test_what_the_deeds_come_to() -> None:
    """Each way in which a watch can end is one that the walk can take."""
    watch, send, go = (Deed.WATCH, 0), (Deed.SEND, 0), (Deed.PASS, 0)

    def ends(*steps: Step, reaction: Sequence[tuple[Step, Says]] = ()) -> list[str]:
        return trio.run(live, (watch, go, *steps, go), (reaction,))

    assert ends(send, (Deed.HANG_UP, 0)) == ["had enough"]
    assert ends((Deed.RELEASE, 0)) == ["was closed"]
    assert ends((Deed.CANCEL, 0)) == ["was cancelled"]
    assert ends(send, reaction=[(go, Says.RAISE)]) == ["raised"]
    assert ends(send, reaction=[((Deed.CANCEL, 0), Says.TURN)]) == ["was cancelled"]
    assert ends(send, reaction=[((Deed.CLOSE, 0), Says.TURN)]) == ["was closed"]
    assert ends((Deed.CLOSE_SILENTLY, 0), watch, go) == ["was closed", "was closed"]
    assert ends(watch) == ["was not the first", "was closed"]
