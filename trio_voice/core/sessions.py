"""The model's sessions, as numbers.

At most two sessions exist at a time: the one that *serves* (`standing.session`) and one that is being *opened* to take its place,
because the other was lost or is about to expire. Numbers only grow. An event that carries another number than the serving
session's is stale and is dropped by comparison.

While none serves, the caller's voice is kept here, up to a bound, oldest dropped first.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from trio_voice.core.commands import AppendAudio, CloseSession, Command, OpenSession
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing


@define
class Sessions:
    """Which session serves, which is coming, and what is said meanwhile."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    bytes_per_ms: int = 8
    opening: int | None = field(default=None, init=False)
    spare: int | None = field(default=None, init=False)
    _last: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _gap: deque[bytes] = field(factory=deque, init=False)
    _gap_bytes: int = field(default=0, init=False)

    def open(self, now: float) -> list[Command]:
        """Open the next session; after failures with a pause that doubles with each."""
        delay_s = self.settings.reconnect_backoff_s * 2 ** min(self._failures - 1, 10) if self._failures else 0.0
        self._last += 1
        self.opening = self._last
        self.deadlines.set(Timer.SESSION_READY, now + delay_s + self.settings.session_ready_limit_s)
        if self.standing.session is None and self.deadlines.at(Timer.RECONNECT) is None:
            self.deadlines.set(Timer.RECONNECT, now + self.settings.reconnect_limit_s)
        return [OpenSession(self._last, delay_s)]

    def ready(self, session: int) -> bool:
        """A session accepted our settings; False for one that nobody waits for."""
        if session != self.opening:
            return False
        self.opening = None
        self.spare = session
        self._failures = 0
        self.deadlines.cancel(Timer.SESSION_READY)
        return True

    def take_over(self, now: float) -> list[Command]:
        """Let the spare session serve, and close the one before it."""
        assert self.spare is not None
        out: list[Command] = []
        if self.standing.session is not None:
            out.append(CloseSession(self.standing.session))
        session, self.spare = self.spare, None
        self.standing.session = session
        self.deadlines.cancel(Timer.RECONNECT)
        self.deadlines.set(Timer.SESSION_AGE, now + self.settings.session_age_limit_s)
        return out

    def hand_on(self) -> list[Command]:
        """Give the serving session what the caller said while there was none."""
        assert self.standing.session is not None
        out: list[Command] = [AppendAudio(self.standing.session, audio) for audio in self._gap]
        self._gap.clear()
        self._gap_bytes = 0
        return out

    def lost(self, session: int) -> bool:
        """A session is gone; tells whether it was the serving one."""
        if session == self.opening:
            self.opening = None
            self._failures += 1
            self.deadlines.cancel(Timer.SESSION_READY)
        if session == self.spare:
            self.spare = None
        if session != self.standing.session:
            return False
        self.standing.session = None
        self.deadlines.cancel(Timer.SESSION_AGE)
        return True

    def give_up_opening(self) -> list[Command]:
        """The session that is being opened takes too long."""
        if self.opening is None:
            return []
        late = self.opening
        self.lost(late)
        return [CloseSession(late)]

    def keep(self, audio: bytes) -> None:
        """Keep a frame of the caller's while no session serves."""
        self._gap.append(audio)
        self._gap_bytes += len(audio)
        while self._gap_bytes > self.settings.gap_audio_ms * self.bytes_per_ms:
            self._gap_bytes -= len(self._gap.popleft())
