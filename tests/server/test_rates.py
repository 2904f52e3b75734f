"""How often one address may try."""

from __future__ import annotations

import trio
import trio.testing

from trio_voice.server import rates
from trio_voice.server.rates import RateLimit


async def test_r40_a_burst_up_to_the_limit_and_then_one_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    limit = RateLimit(30)
    assert [limit.allows("192.0.2.1") for _ in range(31)] == [True] * 30 + [False]
    assert limit.allows("192.0.2.2")
    await trio.sleep(1.999)
    assert not limit.allows("192.0.2.1")
    await trio.sleep(0.002)
    assert [limit.allows("192.0.2.1") for _ in range(2)] == [True, False]
    await trio.sleep(3600)
    assert [limit.allows("192.0.2.1") for _ in range(31)] == [True] * 30 + [False]


async def test_an_ipv6_network_counts_as_one(autojump_clock: trio.testing.MockClock) -> None:
    limit = RateLimit(1)
    assert limit.allows("2001:db8:1:2::1")
    assert not limit.allows("2001:db8:1:2:ffff::9%eth0")
    assert limit.allows("2001:db8:1:3::1")
    assert limit.allows("somebody")
    assert not limit.allows("somebody")


async def test_no_limit() -> None:
    limit = RateLimit(0)
    assert all(limit.allows("192.0.2.1") for _ in range(1000))


async def test_r40_the_memory_of_addresses_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    limit = RateLimit(1)
    for number in range(rates.ADDRESSES + 10):
        limit.allows(f"name {number}")
    assert len(limit._buckets) == rates.ADDRESSES
    assert not limit.allows(f"name {rates.ADDRESSES + 9}")
