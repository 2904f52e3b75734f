"""An open connection: who gets which turn, what leaves without waiting, and trio-websocket at the other end.

Whole conversations with the handshake, and every way to end one, are in test_websocket.py.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from itertools import pairwise

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_client_stream, wrap_server_stream

from tests.server.test_wire import connected_stream
from trio_voice.server.allowance import FRAME_COST, READ_COST, Allowance
from trio_voice.server.connection import CLOSE_LIMIT_S, MESSAGES_AT_ONCE, Connection
from trio_voice.server.frames import FrameDecoder, FrameEncoder, FrameError, Pong, Received
from trio_voice.server.message_socket import Sent, SocketClosed
from trio_voice.server.poller import polling
from trio_voice.server.websocket import FRAMES_AT_ONCE, answer_websocket, client_websocket
from trio_voice.server.wire import wire_of


def server_over(stream: trio.abc.Stream, allowance: Allowance | None = None) -> Connection:
    decoder = FrameDecoder(masked=True, limit_bytes=65536, at_once=FRAMES_AT_ONCE)
    return Connection(wire_of(stream), decoder, FrameEncoder(masked=False), "peer", allowance)


async def pinging(stream: trio.abc.SendStream, count: int) -> None:
    await stream.send_all(b"".join(b"\x89\x82\0\0\0\0" + number.to_bytes(2, "big") for number in range(count)))


def text(payload: str) -> bytes:
    """A client's frame, masked with zeros."""
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload.encode()


async def read_frames(stream: trio.abc.ReceiveStream) -> list[Received]:
    """All that a server has sent so far."""
    await trio.testing.wait_all_tasks_blocked()
    data = await stream.receive_some()
    return FrameDecoder(masked=False, limit_bytes=65536).decode(data)


# --- turns -------------------------------------------------------------------------------------------------------------


async def test_a_peer_that_floods_us_gives_the_others_their_turn() -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far)
    await near.send_all(text("x") * 1000)
    received: list[str | bytes] = []
    turns: list[int] = []

    async def flooded() -> None:
        while len(received) < 1000:
            received.append(await connection.receive())

    async def other() -> None:
        while len(received) < 1000:
            turns.append(len(received))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flooded)
        nursery.start_soon(other)
    assert max(after - before for before, after in pairwise(turns)) <= 2 * MESSAGES_AT_ONCE
    assert len(turns) >= 1000 // (2 * MESSAGES_AT_ONCE)


async def test_a_task_that_sends_for_ever_gives_the_others_their_turn_and_can_be_cancelled() -> None:
    async with over_tcp() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(read_for_ever, peer)
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_later, scope)
            while True:
                await connection.send("x")
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def cancel_later(scope: trio.CancelScope) -> None:
    await trio.lowlevel.checkpoint()
    scope.cancel()


async def read_for_ever(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


async def test_messages_that_are_there_can_be_taken_under_cancellation_or_stay() -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far)
    await near.send_all(text("a") * (MESSAGES_AT_ONCE + 2))
    received = [await connection.receive() for _ in range(MESSAGES_AT_ONCE)]
    with trio.CancelScope() as scope:
        scope.cancel()
        received.append(await connection.receive())
    assert scope.cancelled_caught
    assert len(received) == MESSAGES_AT_ONCE
    assert [await connection.receive() for _ in range(2)] == ["a", "a"]


async def test_two_who_receive_get_each_message_once() -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far)
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await connection.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(text("a"))
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(text("b"))
    assert sorted(map(str, received)) == ["a", "b"]


# --- control frames ----------------------------------------------------------------------------------------------------


async def test_a_ping_is_answered_while_messages_are_awaited(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far)
    await near.send_all(b"\x89\x83\0\0\0\0you" + b"\x8a\x80\0\0\0\0" + text("a"))
    assert await connection.receive() == "a"
    assert await near.receive_some() == b"\x8a\x03you"


async def test_of_the_pings_that_come_at_once_the_last_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far)
    await pinging(near, 2000)
    await near.send_all(b"\x8a\x80\0\0\0\0" * 10 + text("a"))
    assert await connection.receive() == "a"
    last_of_each_go = [*range(FRAMES_AT_ONCE - 1, 1999, FRAMES_AT_ONCE), 1999]
    assert await read_frames(near) == [Pong(number.to_bytes(2, "big")) for number in last_of_each_go]


async def test_a_message_behind_a_ping_whose_answer_is_cancelled_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    connection = server_over(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"\x89\x80\0\0\0\0" + text("a"))
        with trio.move_on_after(1) as scope:
            await connection.receive()
    assert scope.cancelled_caught
    assert await connection.receive() == "a"


async def test_pings_that_come_while_a_message_is_stuck_are_one_pong_behind_it(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    connection = server_over(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, "stuck")
        nursery.start_soon(connection.receive)
        await trio.testing.wait_all_tasks_blocked()
        await pinging(near, 1000)
        await trio.testing.wait_all_tasks_blocked()
        assert await near.receive_some() == b"\x81\x05stuck"
        assert await near.receive_some() == b"\x8a\x02" + (999).to_bytes(2, "big")
        await near.send_all(text("end"))


async def test_a_close_that_comes_while_a_message_is_stuck_is_answered_behind_it(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    connection = server_over(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, "stuck")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(near.send_all, b"\x88\x82\0\0\0\0\x03\xe9")
        with pytest.raises(SocketClosed) as closed:
            await connection.receive()
        assert closed.value.code == 1001
        nursery.start_soon(connection.close)
        assert await near.receive_some() == b"\x81\x05stuck"
        assert await near.receive_some() == b"\x88\x02\x03\xe9"
        assert await near.receive_some() == b""
    assert trio.current_time() == 0


# --- without waiting ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def over_tcp(allowance: Allowance | None = None) -> AsyncIterator[tuple[Connection, trio.SocketStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await connected_stream(listener)
        far = await listener.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        async with near, far:
            yield server_over(far, allowance), near


def fill(connection: Connection) -> int:
    """Send until the network takes no more, and a message is left in part; returns how many were begun."""
    begun = 1
    while (sent := connection.send_now(str((begun - 1) % 10) * 60_000)) is Sent.ALL:
        begun += 1
    assert sent is Sent.PART
    return begun


async def test_what_fits_leaves_without_waiting_and_what_was_begun_is_flushed_before_all_else() -> None:
    async with over_tcp() as (connection, peer):
        sent = fill(connection)
        assert connection.send_now("not now") is Sent.NOTHING
        decoder = FrameDecoder(masked=False, limit_bytes=65536)
        received: list[Received] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.flush)
            await trio.testing.wait_all_tasks_blocked()
            while len(received) < sent:
                received += decoder.decode(await peer.receive_some())
        assert connection.send_now("now") is Sent.ALL
        received += decoder.decode(await peer.receive_some())
        assert received == [*(str(number % 10) * 60_000 for number in range(sent)), "now"]


async def test_a_message_that_was_begun_and_never_flushed_is_finished_before_the_close() -> None:
    async with over_tcp() as (connection, peer):
        fill(connection)
        decoder = FrameDecoder(masked=False, limit_bytes=65536)
        received: list[Received] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.close, 4000)
            while not received or isinstance(received[-1], str):
                received += decoder.decode(await peer.receive_some())
            await peer.send_all(b"\x88\x80\0\0\0\0")
        assert not any(isinstance(one, FrameError) for one in received)
        assert [one[:1] for one in received[:-1] if isinstance(one, str)] == [str(number) for number in range(len(received) - 1)]


async def test_a_flush_that_is_cancelled_tears_the_connection() -> None:
    async with over_tcp() as (connection, _peer):
        fill(connection)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.flush)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        began = trio.current_time()
        await connection.close()
        assert trio.current_time() - began < CLOSE_LIMIT_S / 2


async def test_nothing_is_sent_at_once_on_a_connection_that_is_over_and_nothing_is_raised() -> None:
    async with over_tcp() as (connection, peer):
        await peer.send_all(b"\x88\x80\0\0\0\0")
        with pytest.raises(SocketClosed) as closed:
            await connection.receive()
        assert closed.value.code == 1005
        assert connection.send_now("late") is Sent.NOTHING
    async with over_tcp() as (connection, peer):
        await peer.send_eof()
        await connection.close()
        assert connection.send_now("late") is Sent.NOTHING


async def test_a_reader_is_told_at_once_when_we_close_and_what_came_meanwhile_is_dropped() -> None:
    outcomes: list[tuple[int, str]] = []

    async def receive(connection: Connection) -> None:
        with pytest.raises(SocketClosed) as closed:
            await connection.receive()
        outcomes.append((closed.value.code, closed.value.reason))

    async with over_tcp() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(receive, connection)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.close, 4001, "enough")
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [(4001, "enough")]
        assert await read_frames(peer)
        await peer.send_all(text("too late") + b"\x88\x80\0\0\0\0")


# --- with another implementation ---------------------------------------------------------------------------------------


async def test_trio_websocket_as_the_client() -> None:
    near, far = trio.testing.memory_stream_pair()

    async def serve() -> None:
        async with answer_websocket(far) as upgrade:
            ours = await upgrade.accept()
            assert await ours.receive() == "é" * 20_000
            assert await ours.receive() == b"\0\xff"
            await ours.send("x" * 70_000)
            await ours.send(b"")
            with pytest.raises(SocketClosed) as closed:
                await ours.receive()
            assert (closed.value.code, closed.value.reason) == (4321, "bye")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        theirs = await wrap_client_stream(nursery, near, "example.com", "/")  # type: ignore[arg-type]  # it uses no more than a Stream
        await theirs.ping(b"are you there")
        await theirs.send_message("é" * 20_000)
        await theirs.send_message(b"\0\xff")
        assert await theirs.get_message() == "x" * 70_000
        assert await theirs.get_message() == b""
        await theirs.aclose(4321, "bye")


async def test_trio_websocket_as_the_server() -> None:
    near, far = trio.testing.memory_stream_pair()

    async def serve(nursery: trio.Nursery) -> None:
        request: WebSocketRequest = await wrap_server_stream(nursery, far)
        theirs = await request.accept()
        assert await theirs.get_message() == "é" * 20_000
        assert await theirs.get_message() == b"\0\xff"
        with trio.fail_after(5):
            await theirs.ping(b"are you there")
        await theirs.send_message("x" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            await theirs.get_message()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1000

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, nursery)
        async with client_websocket(near, "example.com", "/") as ours:
            await ours.send("é" * 20_000)
            await ours.send(b"\0\xff")
            assert await ours.receive() == "x" * 70_000


# --- all messages to the end -------------------------------------------------------------------------------------------


HandingOver = tuple[Connection, trio.SocketStream, list[str | bytes], list[SocketClosed]]


@asynccontextmanager
async def handing_over(*, polled: bool, allowance: Allowance | None = None) -> AsyncIterator[HandingOver]:
    """A connection over TCP whose messages go into a list, and how it ended into another."""
    taken: list[str | bytes] = []
    ends: list[SocketClosed] = []

    async def hand_over(connection: Connection) -> None:
        try:
            await connection.hand_over(taken.append)
        except SocketClosed as closed:
            ends.append(closed)

    with trio.fail_after(20):
        async with trio.open_nursery() as background:
            with polling(background) if polled else nullcontext():
                async with over_tcp(allowance) as (connection, peer), trio.open_nursery() as nursery:
                    nursery.start_soon(hand_over, connection)
                    yield connection, peer, taken, ends
            background.cancel_scope.cancel()


POLLED = pytest.mark.parametrize("polled", [True, False])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.lowlevel.checkpoint()


@POLLED
async def test_all_messages_are_handed_over_in_order_whole_and_in_pieces_and_pings_answered(polled: bool) -> None:
    async with handing_over(polled=polled) as (_, peer, taken, ends):
        await peer.send_all(text("a") + text("b") + b"\x89\x82\0\0\0\0hi" + text("c")[:3])
        frames = await read_frames(peer)
        assert frames == [Pong(b"hi")]
        await peer.send_all(text("c")[3:] + text("d") * (3 * MESSAGES_AT_ONCE))
        await until(lambda: len(taken) == 3 + 3 * MESSAGES_AT_ONCE)
        assert taken[:4] == ["a", "b", "c", "d"]
        await peer.send_all(text("e") + b"\x88\x82\0\0\0\0\x03\xe9")
        await until(lambda: bool(ends))
        assert (taken[-1], ends[0].code) == ("e", 1001)


@POLLED
async def test_who_hands_over_hears_of_every_end(polled: bool) -> None:
    async with handing_over(polled=polled) as (_, peer, _, ends):
        await peer.aclose()
        await until(lambda: bool(ends))
        assert ends[0].code == 1006
    async with handing_over(polled=polled) as (connection, peer, _, ends):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.close)
            nursery.start_soon(read_for_ever, peer)
            await until(lambda: bool(ends))
            await peer.send_all(b"\x88\x82\0\0\0\0\x03\xe8")
        assert ends[0].code == 1000
    async with handing_over(polled=polled) as (_, peer, _, ends):
        await peer.send_all(b"\xff\x80\0\0\0\0")
        await until(lambda: bool(ends))
        assert ends[0].code == 1002


LONGS = pytest.mark.parametrize("long", ["e" * 200, "é" * 200], ids=["ASCII", "not ASCII"])


@LONGS
@POLLED
async def test_long_texts_that_come_one_by_one_are_handed_over_and_none_within_another_message(polled: bool, long: str) -> None:
    long_text = FrameEncoder(masked=True).message(long)
    async with handing_over(polled=polled) as (connection, peer, taken, ends):
        for number in range(3):
            connection.heard_at = -1.0
            await peer.send_all(long_text)
            while len(taken) == number:
                await trio.lowlevel.checkpoint()
            assert connection.heard_at >= 0.0
        await peer.send_all(b"\x01" + text("the beginning")[1:])
        await until(lambda: bool(connection._decoder._opcode))
        await peer.send_all(long_text)
        await until(lambda: bool(ends))
        assert (taken, ends[0].code) == ([long] * 3, 1002)


@LONGS
@POLLED
async def test_long_texts_that_come_one_by_one_are_counted(polled: bool, long: str) -> None:
    long_text = FrameEncoder(masked=True).message(long)
    allowance = Allowance(1.0, 3.5 * (READ_COST + FRAME_COST + len(long_text)))
    async with handing_over(polled=polled, allowance=allowance) as (connection, peer, taken, ends):
        for number in range(4):
            await peer.send_all(long_text)
            while len(taken) == number:
                await trio.lowlevel.checkpoint()
        assert connection._resume_at > trio.current_time() + 300
        await peer.send_all(long_text)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (len(taken), ends) == (4, [])
        await peer.aclose()
        await connection.close()
        await until(lambda: bool(ends))


@POLLED
async def test_a_reader_is_told_of_the_close_of_a_torn_connection_too(polled: bool) -> None:
    async with handing_over(polled=polled) as (connection, _, _, ends):
        fill(connection)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.flush)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await connection.close(4001, "enough")
        await until(lambda: bool(ends))
        assert (ends[0].code, ends[0].reason) == (4001, "enough")


class Others:
    """Who wants a turn of the scheduler's as often as there is one."""

    turns = 0

    async def take_turns(self) -> None:
        while True:
            self.turns += 1
            await trio.lowlevel.checkpoint()


@POLLED
async def test_a_flood_leaves_the_others_their_turn_and_can_be_cancelled(polled: bool) -> None:
    others = Others()
    async with handing_over(polled=polled) as (_, peer, taken, _), trio.open_nursery() as nursery:
        nursery.start_soon(others.take_turns)
        await peer.send_all(text("x") * 800)
        await until(lambda: len(taken) == 800)
        assert others.turns >= 800 // (2 * MESSAGES_AT_ONCE)
        nursery.cancel_scope.cancel()
        await peer.aclose()


EMPTY_PART = b"\x00\x80\0\0\0\0"


@POLLED
async def test_r40_thousands_of_frames_with_nothing_in_them_leave_the_others_their_turn(polled: bool) -> None:
    others = Others()
    async with handing_over(polled=polled) as (_, peer, taken, ends), trio.open_nursery() as nursery:
        await peer.send_all(b"\x01" + EMPTY_PART[1:] + EMPTY_PART * 2500 + b"\x80" + EMPTY_PART[1:])
        await trio.lowlevel.checkpoint()
        nursery.start_soon(others.take_turns)
        await until(lambda: bool(taken))
        assert taken == [""]
        assert others.turns >= 2500 // FRAMES_AT_ONCE // 2  # some were read before the other began
        await peer.aclose()
        await until(lambda: bool(ends))
        nursery.cancel_scope.cancel()


@POLLED
async def test_a_goodbye_behind_many_frames_is_found_without_waiting_for_more(
    polled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_voice.server.connection.CLOSE_LIMIT_S", 1000.0)
    async with handing_over(polled=polled) as (connection, peer, _, _), trio.open_nursery() as nursery:
        nursery.start_soon(connection.close)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(b"\x01" + EMPTY_PART[1:] + EMPTY_PART * 500 + b"\x88\x82\0\0\0\0\x03\xe8")


@POLLED
async def test_what_the_taker_raises_is_raised_where_it_was_given(polled: bool) -> None:
    def take(_message: str | bytes) -> None:
        raise ValueError("not this")

    with trio.fail_after(20):
        async with trio.open_nursery() as background:
            with polling(background) if polled else nullcontext():
                async with over_tcp() as (connection, peer):
                    await peer.send_all(text("x"))
                    with pytest.raises(ValueError, match="not this"):
                        await connection.hand_over(take)
            background.cancel_scope.cancel()


@POLLED
async def test_a_goodbye_that_came_with_the_last_message_is_not_waited_for_again(
    polled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A carrier may close right behind its stop, on which the call ends."""
    monkeypatch.setattr("trio_voice.server.connection.CLOSE_LIMIT_S", 1000.0)
    with trio.fail_after(20):
        async with trio.open_nursery() as background:
            with polling(background) if polled else nullcontext():
                async with over_tcp() as (connection, peer), trio.open_nursery() as call:
                    call.start_soon(connection.hand_over, lambda _message: call.cancel_scope.cancel())
                    await trio.testing.wait_all_tasks_blocked()
                    await peer.send_all(text("stop") + b"\x88\x82\0\0\0\0\x03\xe8")
                    with trio.CancelScope(shield=True):
                        await until(lambda: call.cancel_scope.cancel_called)
                    await connection.close()
            background.cancel_scope.cancel()
