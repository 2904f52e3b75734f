"""The model's sessions, as numbers.

At most two sessions exist at a time: the one that *serves* (`standing.session`) and one that is being *opened* to take its place,
because the other was lost or is about to expire. One that is open and waits for its turn is the *spare*. Numbers only grow. An
event that carries another number than the serving session's is stale and is dropped by comparison.

A session has proved itself once a response began in it. One that is lost before counts as a failure, so that a peer that accepts
every session and drops it at once is met with growing pauses, too.

While none serves, the caller's voice is kept here, up to a bound, oldest dropped first.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.commands import AppendAudio, CloseSession, Command, OpenSession
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import CallState


@define
class Sessions:
    """Which session serves, which is coming, and what is said meanwhile."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    bytes_per_ms: int = 8
    opening: int | None = field(default=None, init=False)
    spare: int | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    replaced: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)
    _proved: bool = field(default=False, init=False)
    _gap: list[bytes] = field(factory=list, init=False)
    _gap_bytes: int = field(default=0, init=False)

    def open(self, now: float) -> list[Command]:
        """Open the next session; after failures with a pause that doubles with each."""
        delay_s = self.settings.reconnect_backoff_s * 2 ** min(self.failures - 1, 10) if self.failures else 0.0
        self._last += 1
        self.opening = self._last
        if self.standing.session is None:
            self._limit_the_gap(now)
        self.deadlines.set(Timer.SESSION_READY, now + delay_s + self.settings.session_ready_limit_s)
        return [OpenSession(self._last, delay_s)]

    def ready(self, session: int) -> bool:
        """A session accepted our settings; False for one that nobody waits for."""
        if session != self.opening:
            return False
        self.opening = None
        self.spare = session
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
        self._proved = False
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

    def proved(self) -> None:
        """A response began in the serving session: it works."""
        self._proved = True
        self.failures = 0
        self.replaced = 0

    def is_known(self, session: int) -> bool:
        """Whether this session is any of the two."""
        return session in (self.standing.session, self.opening, self.spare)

    @property
    def coming(self) -> bool:
        """A session is being opened, or is open and waits for its turn."""
        return self.opening is not None or self.spare is not None

    def lost(self, session: int, now: float) -> bool:
        """A session is gone; tells whether it was the serving one."""
        if session != self.standing.session:
            if session == self.opening:
                self.opening = None
                self.deadlines.cancel(Timer.SESSION_READY)
            else:
                self.spare = None
            self.failures += 1
            return False
        self.standing.session = None
        self.failures += not self._proved
        self.deadlines.cancel(Timer.SESSION_AGE)
        self._limit_the_gap(now)
        return True

    def give_up_opening(self, now: float) -> list[Command]:
        """The session that is being opened takes too long."""
        if self.opening is None:
            return []
        late = self.opening
        self.lost(late, now)
        return [CloseSession(late)]

    def keep(self, audio: bytes) -> None:
        """Keep a frame of the caller's while no session serves."""
        self._gap.append(audio)
        self._gap_bytes += len(audio)
        while self._gap_bytes > self.settings.gap_audio_ms * self.bytes_per_ms:
            self._gap_bytes -= len(self._gap.pop(0))

    def _limit_the_gap(self, now: float) -> None:
        """From the moment when no session serves, however many attempts are made; a caller who has heard nothing waits less."""
        if self.deadlines.at(Timer.RECONNECT) is None:
            is_first = self.standing.call is CallState.CONNECTING
            limit_s = self.settings.first_session_limit_s if is_first else self.settings.reconnect_limit_s
            self.deadlines.set(Timer.RECONNECT, now + limit_s)
