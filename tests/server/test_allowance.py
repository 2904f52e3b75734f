"""What a peer may send: the bucket by itself, and a connection that holds its peer back."""

from __future__ import annotations

from math import ceil

import pytest
import trio
import trio.testing

from tests.server.test_connection import POLLED, handing_over, pinging, server_over, text, until
from trio_voice.server.allowance import A_SECOND, AT_ONCE, FRAME_COST, LIMIT_S, READ_COST, Allowance
from trio_voice.server.connection import MESSAGES_AT_ONCE
from trio_voice.server.message_socket import SocketClosed
from trio_voice.server.websocket import FRAMES_AT_ONCE

MEDIA_BYTES = 400
"""A frame of 20 ms of mu-law in a media message."""
COST = READ_COST + FRAME_COST + 7
"""One read that brings one message of one letter."""


# --- the bucket --------------------------------------------------------------------------------------------------------


def test_r40_what_is_kept_may_be_spent_to_the_last_byte_and_one_more_has_to_wait() -> None:
    bucket = Allowance()
    assert bucket.spend(AT_ONCE - READ_COST, 0, 0.0) == 0.0
    bucket = Allowance()
    assert bucket.spend(AT_ONCE - READ_COST + 1, 0, 0.0) == 1 / A_SECOND


def test_each_read_and_each_frame_costs_something_whatever_is_in_it() -> None:
    bucket = Allowance(a_second=1000, at_once=1000)
    assert bucket.spend(0, 4, 0.0) == 0.0
    assert bucket.spend(0, 0, 0.0) == READ_COST / 1000


def test_time_brings_it_back_but_no_more_than_is_kept() -> None:
    bucket = Allowance(a_second=1000, at_once=1000)
    assert bucket.spend(1000 - READ_COST, 0, 0.0) == 0.0
    assert bucket.spend(500 - READ_COST, 0, 0.5) == 0.0
    assert bucket.spend(1000 - READ_COST, 0, 3600.0) == 0.0
    assert bucket.spend(1 - READ_COST, 0, 3600.0) == 0.001


@pytest.mark.parametrize(("a_second", "size"), [(50, MEDIA_BYTES), (100, 300), (50, 1000)])
def test_nobody_is_held_back_who_speaks_in_real_time_for_hours(a_second: int, size: int) -> None:
    """Frames of 20 ms, frames of 10 ms, and linear audio at 16 kHz."""
    bucket = Allowance()
    assert not any(bucket.spend(size, 1, count / a_second) for count in range(2 * 3600 * a_second))


def test_nobody_is_held_back_for_five_seconds_that_come_at_once() -> None:
    bucket = Allowance()
    assert not any(bucket.spend(10 * MEDIA_BYTES, 10, 0.0) for _ in range(5 * 50 // 10))


def test_who_catches_up_after_thirty_seconds_is_held_back_and_not_sent_away() -> None:
    bucket, now, held_back_s = Allowance(), 0.0, 0.0
    behind = 30.0 * 50
    while behind >= 20.0:
        pause_s = bucket.spend(20 * MEDIA_BYTES, 20, now)
        assert not bucket.is_used_up
        now, held_back_s, behind = now + pause_s, held_back_s + pause_s, behind - 20 + pause_s * 50
    assert 10.0 < held_back_s < LIMIT_S


def test_r40_who_goes_on_for_the_limit_has_used_it_up_and_not_a_moment_before() -> None:
    bucket = Allowance(a_second=1000, at_once=0)
    bucket.spend(1000, 0, 0.0)
    bucket.spend(100_000, 0, LIMIT_S - 2**-10)
    assert not bucket.is_used_up
    bucket.spend(0, 0, LIMIT_S)
    assert bucket.is_used_up


def test_a_moment_within_the_allowance_begins_the_limit_anew() -> None:
    bucket = Allowance(a_second=1000, at_once=1000)
    bucket.spend(1001 - READ_COST, 0, 0.0)
    bucket.spend(0, 0, 1.0)
    bucket.spend(1800, 0, 1.0)
    bucket.spend(40_000, 0, LIMIT_S)
    assert not bucket.is_used_up
    bucket.spend(0, 0, 1.0 + LIMIT_S)
    assert bucket.is_used_up


# --- a connection ------------------------------------------------------------------------------------------------------


async def test_r40_what_comes_too_fast_is_read_when_it_may_be_and_nothing_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far, Allowance(a_second=1024, at_once=2 * COST))
    at: list[float] = []
    for letter in "abcde":
        await near.send_all(text(letter))
        assert await connection.receive() == letter
        at.append(trio.current_time())
    assert at == [0.0, 0.0, 0.0, COST / 1024, 2 * COST / 1024]


async def test_a_thousand_messages_at_once_are_given_out_at_the_pace(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far, Allowance(a_second=2**17, at_once=2**14))
    letters = [chr(ord("a") + count % 26) for count in range(10_000)]
    await near.send_all(b"".join(text(letter) for letter in letters))
    assert [await connection.receive() for _ in letters] == letters
    assert trio.current_time() >= (10_000 * (FRAME_COST + 7) - 2**14 - 16_384 - 64 * FRAME_COST) / 2**17


async def test_a_flood_of_pings_is_held_back_too(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far, Allowance(a_second=10_000, at_once=0))
    await pinging(near, 100)
    await near.send_all(text("x"))
    await near.send_all(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 1000 + b"\x80\x80\0\0\0\0")
    assert [await connection.receive() for _ in range(2)] == ["x", ""]
    await near.send_all(text("y"))
    assert await connection.receive() == "y"
    times = ceil(1103 / FRAMES_AT_ONCE)
    assert trio.current_time() == pytest.approx((times * READ_COST + 102 * FRAME_COST + 100 * 8 + 7 + 1002 * 6) / 10_000)


async def test_r40_who_goes_on_is_told_why_it_is_sent_away(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    connection = server_over(far, Allowance(a_second=1024, at_once=0))
    received: list[str | bytes] = []

    async def flood() -> None:
        for _ in range(100):
            await near.send_all(text("x"))
            await trio.sleep(COST / 1024)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        with pytest.raises(SocketClosed, match=r"\(1008: more than twice real time, for 30 s\)"):
            await connection.hand_over(received.append)
        assert trio.current_time() == LIMIT_S + (-LIMIT_S * 1024 % COST) / 1024
        nursery.cancel_scope.cancel()
    assert received == ["x"] * (int(LIMIT_S * 1024) // COST + 2)
    assert b"\x03\xf0more than twice real time, for 30 s" in await near.receive_some()


@POLLED
async def test_nothing_is_lost_or_reordered_and_nobody_spins_while_a_peer_is_held_back(polled: bool) -> None:
    async with handing_over(polled=polled, allowance=Allowance(a_second=1e6, at_once=0)) as (_, peer, taken, ends):
        letters = [chr(ord("a") + count % 26) for count in range(50 * MESSAGES_AT_ONCE)]
        began = trio.current_time()
        await peer.send_all(b"".join(text(letter) for letter in letters[:-1]))
        await until(lambda: len(taken) == len(letters) - 1)
        await peer.send_all(text(letters[-1]))
        await trio.testing.wait_all_tasks_blocked()  # it would never come to that
        await until(lambda: len(taken) == len(letters))
        assert taken == letters
        assert trio.current_time() - began >= (len(letters) - 1) * (FRAME_COST + 7) / 1e6
        await peer.aclose()
        await until(lambda: bool(ends))


@POLLED
async def test_a_peer_that_is_held_back_can_be_spoken_to_and_closed_at_once(polled: bool) -> None:
    async with handing_over(polled=polled, allowance=Allowance(a_second=1e-3, at_once=0)) as (connection, peer, taken, ends):
        await peer.send_all(text("x"))
        await until(lambda: bool(taken))
        await peer.send_all(text("y") + b"\x88\x82\0\0\0\0\x03\xe8")
        await trio.testing.wait_all_tasks_blocked()
        assert not ends
        await connection.send("still")
        assert (await peer.receive_some())[2:] == b"still"
        await connection.close(4001, "enough")
        await until(lambda: bool(ends))
        assert (taken, ends[0].code) == (["x"], 4001)
