"""What one peer may send: twice real time, and five seconds of audio at once. A token bucket, without I/O and without a clock.

A caller costs the server what it sends: so much for each time that its socket is read, for each WebSocket frame, whatever is in
it, and for each byte. All is counted in bytes. Twenty milliseconds of mu-law in a media message take about 400 of them on the
wire, and cost 800 where each comes alone: real time is 40,000 a second. Frames of ten milliseconds, and linear audio at 16 kHz,
come to 70,000. What was held up in the network for some seconds may arrive in one go.

Who sends more is not read for a while: its bytes stay in the network, TCP holds it back, and nothing is lost. Who has sent more
for half a minute without a break does not mean a telephone call.
"""

from __future__ import annotations

from attrs import define, field

READ_COST = 200
FRAME_COST = 200
A_SECOND = 80_000
AT_ONCE = 200_000
LIMIT_S = 30.0
"""After so long a time beyond the allowance the peer is sent away."""


@define(eq=False)
class Allowance:
    """Of one peer. `a_second` comes in, `at_once` is kept at most, and may be spent in one go; both in bytes."""

    a_second: float = A_SECOND
    at_once: float = AT_ONCE
    _left: float = field(init=False)
    _at: float = field(default=0.0, init=False)
    _over_since: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.at_once

    def spend(self, size: int, frames: int, now: float) -> float:
        """Count one read of `size` bytes with `frames` whole frames; return for how many seconds to read nothing, mostly 0.0."""
        left = self._left + (now - self._at) * self.a_second
        if left > self.at_once:
            left = self.at_once
        self._left = left = left - (READ_COST + FRAME_COST * frames + size)
        self._at = now
        if left >= 0.0:
            self._over_since = None
            return 0.0
        if self._over_since is None:
            self._over_since = now
        return -left / self.a_second

    @property
    def is_used_up(self) -> bool:
        """The peer has been beyond it for LIMIT_S, without a break, when it was read last."""
        return self._over_since is not None and self._at - self._over_since >= LIMIT_S
