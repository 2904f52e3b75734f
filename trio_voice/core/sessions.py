"""The model's sessions, as numbers.

At most two sessions exist at a time: the one that *serves* (`standing.session`) and one that is being *opened* to take its place,
because the other was lost or is about to expire. One that is open and waits for its turn is the *spare*. Numbers only grow. An
event that carries another number than the serving session's is stale and is dropped by comparison.

Every session has a *setup*: which agent it belongs to, with which voice. The shell knows what the numbers mean. `setup` is the
serving session's, `wanted` that of the next one; they differ while a change is being made.

A session has proved itself once a response began in it. One that is lost before counts as a failure, so that a peer that accepts
every session and drops it at once is met with growing pauses, too.

The caller's voice is kept here, up to a bound, oldest dropped first, while none serves; and also while a successor is coming or
the caller speaks (`keeping`), as far as the serving session has not committed it: so the successor hears all that its predecessor
has not taken into the conversation, and nothing twice.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.commands import AppendAudio, CloseSession, Command, OpenSession
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import CALLER_HAS_THE_FLOOR, CallState

UNREPORTED_MS = 600
"""How late the model may report that somebody has begun to speak: what was heard before is silence."""


@define
class Sessions:
    """Which session serves, which is coming, and what is said meanwhile."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    bytes_per_ms: int = 8
    opening: int | None = field(default=None, init=False)
    spare: int | None = field(default=None, init=False)
    setup: int = field(default=0, init=False)
    wanted: int = field(default=0, init=False)
    requests_before: int = field(default=0, init=False)
    """How many replies had been asked for when the serving session took over."""
    has_proved: bool = field(default=False, init=False)
    keeping: bool = field(default=True, init=False)
    failures: int = field(default=0, init=False)
    replaced: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)
    _coming_setup: int = field(default=0, init=False)
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
        self.keeping = True
        self._coming_setup = self.wanted
        return [OpenSession(self._last, delay_s, self.wanted)]

    def ready(self, session: int) -> bool:
        """A session accepted our settings; False for one that nobody waits for."""
        if session != self.opening:
            return False
        self.opening = None
        self.spare = session
        self.deadlines.cancel(Timer.SESSION_READY)
        return True

    def take_over(self, now: float, requests: int = 0) -> list[Command]:
        """Let the spare session serve, and close the one before it; `requests` is how many replies were asked for so far."""
        assert self.spare is not None
        out: list[Command] = []
        if self.standing.session is not None:
            out.append(CloseSession(self.standing.session))
        session, self.spare = self.spare, None
        self.standing.session = session
        self.setup = self._coming_setup
        self.requests_before = requests
        self.has_proved = False
        self.deadlines.cancel(Timer.RECONNECT)
        self.deadlines.set(Timer.SESSION_AGE, now + self.settings.session_age_limit_s)
        return out

    def hand_on(self) -> list[Command]:
        """Give the serving session what the caller said while there was none."""
        assert self.standing.session is not None
        out: list[Command] = [AppendAudio(self.standing.session, audio) for audio in self._gap]
        self.committed()
        return out

    def spoken(self) -> None:
        """The caller has begun to speak: what they say is kept until the serving session has it as an utterance."""
        self.keeping = True

    def committed(self) -> None:
        """The serving session has taken an utterance whole: what was kept of it is not needed any more."""
        self._gap.clear()
        self._gap_bytes = 0
        self.keeping = self.coming or self.standing.session is None

    def proved(self) -> None:
        """A response began in the serving session: it works."""
        self.has_proved = True
        self.failures = 0
        self.replaced = 0

    def is_known(self, session: int) -> bool:
        """Whether this session is any of the two."""
        return session in (self.standing.session, self.opening, self.spare)

    @property
    def never_opened(self) -> bool:
        """The stream has not started: there has been no session, and none is coming."""
        return self._last == 0

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
        self.failures += not self.has_proved
        self.deadlines.cancel(Timer.SESSION_AGE)
        self._limit_the_gap(now)
        return True

    def drop_coming(self) -> list[Command]:
        """Close the session that is being opened or waits for its turn; that is no failure of its."""
        dropped = [session for session in (self.opening, self.spare) if session is not None]
        self.opening = self.spare = None
        self.deadlines.cancel(Timer.SESSION_READY)
        if self.standing.session is not None and self.standing.turn not in CALLER_HAS_THE_FLOOR:
            self.committed()
        return [CloseSession(session) for session in dropped]

    def age_again(self, now: float) -> None:
        """The successor of a session that grows old did not come: it is due again."""
        if self.standing.session is not None and not self.coming and self.deadlines.at(Timer.SESSION_AGE) is None:
            self.deadlines.set(Timer.SESSION_AGE, now)

    def give_up_opening(self, now: float) -> list[Command]:
        """The session that is being opened takes too long."""
        if self.opening is None:
            return []
        late = self.opening
        self.lost(late, now)
        return [CloseSession(late)]

    def keep(self, audio: bytes) -> None:
        """Keep a frame of the caller's; while a session serves, only as much as an utterance is reported late."""
        self._gap.append(audio)
        self._gap_bytes += len(audio)
        most_ms = self.settings.gap_audio_ms
        if self.standing.session is not None and self.standing.turn not in CALLER_HAS_THE_FLOOR:
            most_ms = min(most_ms, UNREPORTED_MS)
        while self._gap_bytes > most_ms * self.bytes_per_ms:
            self._gap_bytes -= len(self._gap.pop(0))

    def _limit_the_gap(self, now: float) -> None:
        """From the moment when no session serves, however many attempts are made; a caller who has heard nothing waits less."""
        if self.deadlines.at(Timer.RECONNECT) is None:
            is_first = self.standing.call is CallState.CONNECTING
            limit_s = self.settings.first_session_limit_s if is_first else self.settings.reconnect_limit_s
            self.deadlines.set(Timer.RECONNECT, now + limit_s)
