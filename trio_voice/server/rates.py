"""How often one address may try: a token bucket for each, and a bound on how many addresses are remembered."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

import trio
from attrs import define, field

ADDRESSES = 10_000
_IPV6_PREFIX_BITS = 64
"""Who has one IPv6 address has all of its network."""


@define
class _Bucket:
    tries: float
    at: float


@define(eq=False)
class RateLimit:
    """`per_minute` tries from one address, which may come at once; 0: no limit."""

    per_minute: int
    _buckets: OrderedDict[str, _Bucket] = field(factory=OrderedDict, init=False)

    def allows(self, address: str) -> bool:
        """Count one try and tell whether it is within the limit."""
        if not self.per_minute:
            return True
        now, key = trio.current_time(), _network(address)
        bucket = self._buckets.pop(key, None) or _Bucket(float(self.per_minute), now)
        bucket.tries = min(float(self.per_minute), bucket.tries + (now - bucket.at) * self.per_minute / 60)
        bucket.at = now
        self._buckets[key] = bucket
        while len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        if bucket.tries < 1.0:
            return False
        bucket.tries -= 1.0
        return True


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(int(parsed) >> (128 - _IPV6_PREFIX_BITS))
