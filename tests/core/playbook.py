"""A call's life as a dialogue with the clock as a speaker.

assert (conversing()
    >> 0.15                                   # seconds pass; every deadline on the way acts at its own moment
    >> SpeechStarted(1, "u1")                 # an event
    << ClearPlayback() << CancelResponse(1, "r1")   # what must be commanded, in this order, and nothing else
    << ...                                    # or: whatever was commanded
    << PlayAudio)                             # or: some command of this class
"""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from trio_voice.core.call import Call
from trio_voice.core.commands import Command, CreateResponse, OpenSession, Purpose
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import (
    CallerAudio,
    CallStarted,
    Event,
    ModelAudio,
    ModelAudioEnded,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from trio_voice.core.settings import CallSettings, Wording

FRAME = b"\xff" * 160
QUIET_DBFS = -60.0


class Playbook:
    """Plays the dialogue as it is written; time is kept in whole microseconds, as a journal keeps it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.timers: list[Timer] = []
        self._now_us = 0
        self._now = 0.0
        self._left: list[Command] = []
        self._said: list[str] = []
        self._all: list[Command] = []

    @property
    def now(self) -> float:
        return self._now

    def count(self, kind: type[Command]) -> int:
        """How many commands of this class there have been so far, named or not."""
        return sum(isinstance(command, kind) for command in self._all)

    def __rshift__(self, said: Event | float) -> Playbook:
        """An event happens, or seconds pass."""
        assert self, "unreachable: __bool__ raises"
        self._said.append(f">> {said!r}")
        if isinstance(said, Event):
            self._command(self.call.receive(said, self._now))
        else:
            self._wait(said)
        return self

    def __lshift__(self, expected: Command | type[Command] | EllipsisType) -> Playbook:
        """This was commanded next."""
        if expected is ...:
            self._said += [f"<< {command!r}" for command in self._left]
            self._left.clear()
            return self
        found = self._left.pop(0) if self._left else None
        matches = isinstance(found, expected) if isinstance(expected, type) else found == expected
        assert matches, f"{self._story()}\nexpected << {expected!r}\nfound    << {found!r}\nand then {self._left}"
        self._said.append(f"<< {found!r}")
        return self

    def __bool__(self) -> bool:
        assert not self._left, f"{self._story()}\nnot named: {self._left}"
        return True

    def _wait(self, seconds: float) -> None:
        until_us = self._now_us + round(seconds * 1e6)
        while (deadline := self.call.next_deadline()) is not None and round(deadline * 1e6) <= until_us:
            self._now_us = max(self._now_us, round(deadline * 1e6))
            self._now = max(self._now, deadline)
            timer = self.call.next_timer()
            assert timer is not None
            self.timers.append(timer)
            self._command(self.call.handle_timer(self._now))
        self._now_us = until_us
        self._now = max(self._now, until_us / 1e6)

    def shortened(self, story: str) -> Playbook:
        """The same, but a failure tells this instead of all that was said so far."""
        self._said = [story]
        return self

    def _command(self, commands: list[Command]) -> None:
        self._left += commands
        self._all += commands

    def _story(self) -> str:
        return "\n" + "\n".join(self._said[-40:])


# --- where dialogues begin


def call_with(apology: bytes = b"", *, marks: bool = True, **settings: Any) -> Call:
    """A call with these settings; its wordings are short, and by default a carrier that sends nothing is not given up."""
    wording = Wording(greeting="greet", idle_prompt="prompt", farewell="bye", notice="notice", injected_text="say {text}")
    return Call(CallSettings(**({"media_limit_s": 1e6} | settings)), wording, apology, marks)


def started(call: Call | None = None, **settings: Any) -> Playbook:
    """The carrier's stream has begun; session 1 is being opened."""
    return Playbook(call or call_with(**settings)) >> CallStarted("CA1") << OpenSession(1)


def greeting(**settings: Any) -> Playbook:
    """Session 1 serves and the greeting (request 1) is asked for."""
    return started(**settings) >> SessionReady(1) << CreateResponse(1, 1, Purpose.GREETING, "greet")


def conversing(*, calibrated: bool = True, **settings: Any) -> Playbook:
    """No greeting: session 1 serves, nobody has spoken, 0.2 s have passed, the noise floor is known."""
    book = started(greeting=False, **settings) >> SessionReady(1)
    return hear(book, 10).shortened("conversing()") if calibrated else book


def hear(book: Playbook, frames: int, level_dbfs: float | None = QUIET_DBFS) -> Playbook:
    """Some frames of 20 ms from the caller, handed on to the model or kept."""
    for _ in range(frames):
        book = book >> 0.02 >> CallerAudio(FRAME, level_dbfs) << ...
    return book


def turn(book: Playbook, item_id: str = "u1", session: int = 1) -> Playbook:
    """The caller speaks for a second; the turn has just ended and a reply is being asked for (what is commanded is not named)."""
    book = book >> SpeechStarted(session, item_id) << ... >> 1.0 << ... >> SpeechStopped(session, item_id)
    return book >> TurnCommitted(session, item_id) << ... >> book.call.settings.turn_end_s


def speaking(book: Playbook, response_id: str = "r1", item_id: str = "i1", ms: int = 400, session: int = 1) -> Playbook:
    """A response of the model's begins and sends this much speech at once; it goes on."""
    return (
        book
        >> ResponseCreated(session, response_id)
        << ...
        >> ModelAudio(session, response_id, item_id, b"\x80" * (8 * ms))
        << ...
    )


def spoken(book: Playbook, response_id: str = "r1", item_id: str = "i1", ms: int = 400, session: int = 1) -> Playbook:
    """A response has been generated to its end, and is being heard."""
    return (
        speaking(book, response_id, item_id, ms, session)
        >> ModelAudioEnded(session, response_id, item_id)
        << ...
        >> ResponseDone(session, response_id, ResponseStatus.COMPLETED)
        << ...
    )
