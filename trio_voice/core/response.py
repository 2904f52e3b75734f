"""The one guard of response.create and response.cancel.

Everything that wants a reply, and everything that wants one to stop, asks this object. It answers with the command, or with a
refusal that has a name. What may be asked in which state is the table in `states`; this class adds the ids, the deadlines, and
the slot in which one refused request waits.

A reply sees the whole conversation up to the moment when it is asked for. So requests without instructions of their own are one
request, and one that is sent makes good whatever of the kind is waiting. A request with instructions is another matter: it says
something else than an answer, and the plain request that it met in the slot is made after it (`Request.then`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from attrs import define, evolve, field, frozen

from trio_voice.core.commands import CancelResponse, Command, CreateResponse, Discard, Purpose, Refusal, Refuse
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings, Turns
from trio_voice.core.standing import Standing
from trio_voice.core.states import (
    CALLER_HAS_THE_FLOOR,
    MIRROR_TABLE,
    REFUSALS,
    RESPONSE_TABLE,
    Cell,
    ChangeState,
    Fault,
    ResponseState,
    Signal,
    TurnState,
)
from trio_voice.errors import LocalProtocolError, RemoteProtocolError

OVER_LIMIT = 100
OVER_AGE_S = 60.0
DOOMED_LIMIT = 16

EXEMPT: Mapping[Purpose, Refusal] = {
    Purpose.GREETING: Refusal.GREETING_LOCK,
    Purpose.FAREWELL: Refusal.HANG_UP_PENDING,
}
"""The refusal that does not hold for the very thing that it protects."""

PASSING = frozenset(
    {Refusal.RESPONSE_ACTIVE, Refusal.GREETING_LOCK, Refusal.NO_SESSION, Refusal.CALLER_SPEAKING, Refusal.CHANGING}
)
"""Refusals that pass by themselves: what they refuse may wait."""

_OWN_TIMER = frozenset({Purpose.WATCHDOG, Purpose.IDLE_PROMPT})
_OF_A_TURN = frozenset({Purpose.TURN, Purpose.WATCHDOG, Purpose.RETRY, Purpose.TOOL_RESULT})
_ON_A_FLOOR_TAKEN = frozenset({Purpose.GREETING, Purpose.FAREWELL})
_TIMERS = (Timer.CREATED, Timer.FIRST_AUDIO, Timer.AUDIO_GAP, Timer.DONE, Timer.BLOCKED)


@frozen
class Request:
    """A wish for a reply: why, with what instructions (None: the session's own), and what is to be asked for after it."""

    purpose: Purpose
    instructions: str | None = None
    then: Purpose | None = None


def merged(waiting: Request, request: Request) -> Request | None:
    """One request for two; None when both have instructions of their own and neither can stand for the other."""
    if request.instructions is None:
        return evolve(waiting, then=waiting.then or request.purpose) if waiting.instructions is not None else waiting
    if waiting.instructions is None:
        return evolve(request, then=waiting.purpose)
    return None


@define
class ResponseGuard:
    """See the module's text. Every method that acts returns the commands that it decided on.

    `asked` is the request that the current response answers, `number` that of the last request, `latest` the purpose of the last
    response that began (None: the model's own).
    """

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    state: ResponseState = field(default=ResponseState.IDLE, init=False)
    response_id: str | None = field(default=None, init=False)
    asked: Request | None = field(default=None, init=False)
    number: int = field(default=0, init=False)
    latest: Purpose | None = field(default=None, init=False)
    waiting: Request | None = field(default=None, init=False)
    _over: OrderedDict[str, tuple[float, Refusal]] = field(factory=OrderedDict, init=False)
    _silenced: str | None = field(default=None, init=False)
    _doomed: list[int] = field(factory=list, init=False)

    # --- questions

    @property
    def idle(self) -> bool:
        """No response is in progress or asked for."""
        return self.state is ResponseState.IDLE

    @property
    def coming(self) -> bool:
        """A response is in progress or asked for, and nobody wants it stopped."""
        return self.state in (ResponseState.REQUESTED, ResponseState.ACTIVE)

    @property
    def stopped(self) -> bool:
        """The response in progress was stopped by us, whether or not the cancel could be sent."""
        return self.response_id is not None and self.response_id == self._silenced

    @property
    def answer_waits(self) -> bool:
        """What waits is, or ends with, a reply to the conversation as it is, not to instructions alone."""
        return self.waiting is not None and (self.waiting.instructions is None or self.waiting.then is not None)

    @property
    def waiting_for(self) -> Purpose | None:
        """What the waiting request is for; None when none waits."""
        return self.waiting.purpose if self.waiting else None

    def refusal(self, purpose: Purpose) -> Refusal | None:
        """Why a request for this purpose would be refused now; None if it would be made."""
        by_call = REFUSALS[self.standing.call]
        if by_call is not None and EXEMPT.get(purpose) is not by_call:
            return by_call
        if self.standing.session is None:
            return Refusal.NO_SESSION
        if self.state is not ResponseState.IDLE:
            return Refusal.RESPONSE_ACTIVE
        if self.standing.turn in CALLER_HAS_THE_FLOOR and purpose not in _ON_A_FLOOR_TAKEN:
            return Refusal.CALLER_SPEAKING
        if self.standing.change is not ChangeState.SETTLED and not self._comes_before_a_change(purpose):
            return Refusal.CHANGING
        if not self.standing.calibrated and purpose in _OWN_TIMER:
            return Refusal.NOT_CALIBRATED
        return None

    def _comes_before_a_change(self, purpose: Purpose) -> bool:
        """The greeting, for which every change waits; and a turn that only the old session has heard: no words of it are told."""
        standing = self.standing
        if purpose is Purpose.GREETING:
            return True
        heard_only_here = standing.turn is TurnState.OWED and not standing.words_come and purpose in _OF_A_TURN
        return heard_only_here and standing.change in (ChangeState.OPENING, ChangeState.READY)

    def verdict(self, response_id: str) -> Refusal | None:
        """Why something that response `response_id` produced must be dropped; None if it is to be used."""
        if response_id == self.response_id:
            audible = self.state is ResponseState.ACTIVE and response_id != self._silenced
            return None if audible else Refusal.CANCELLED_RESPONSE
        over = self._over.get(response_id)
        return Refusal.UNKNOWN_RESPONSE if over is None else over[1]

    # --- wishes

    def create(self, request: Request, now: float, *, forced: bool = False) -> list[Command]:
        """Ask for a reply. A refusal that will pass is remembered (one, merged) and made good by `release`.

        A `forced` request (only a greeting may be) stops the active response and takes its place. Raises LocalProtocolError for
        any other that is forced.
        """
        if forced and request.purpose is not Purpose.GREETING:
            raise LocalProtocolError(f"only a greeting may be forced past an active response, not {request.purpose.value}")
        refusal = self.refusal(request.purpose)
        if refusal is None:
            return [self._send_create(request, now)]
        waits = refusal in PASSING and request.purpose not in _OWN_TIMER and self.keep(request)
        answer: list[Command] = [Refuse(request.purpose, refusal, waits)]
        return answer + self.stop(now) if forced and refusal is Refusal.RESPONSE_ACTIVE else answer

    def keep(self, request: Request) -> bool:
        """Let a request wait; False when one that it cannot be merged with waits already."""
        one = request if self.waiting is None else merged(self.waiting, request)
        if one is None:
            return False
        self.waiting = one
        return True

    def release(self, now: float) -> list[Command]:
        """Make the waiting request, if nothing stands against it any more."""
        if self.waiting is None or self.refusal(self.waiting.purpose) is not None:
            return []
        request, self.waiting = self.waiting, None
        return [self._send_create(request, now)]

    def stop(self, now: float) -> list[Command]:
        """Stop the response that is in progress or asked for: the only way to a cancel. Asking twice changes nothing."""
        if self.state is ResponseState.REQUESTED:
            self._signal(Signal.DOOMED)
            return []
        if self.state not in (ResponseState.ACTIVE, ResponseState.BLOCKED):
            return []
        if self.response_id is None or self.response_id in self._over or self.standing.session is None:
            return []
        self._signal(Signal.CANCEL_SENT)
        self._wait(Timer.DONE, now + self.settings.done_limit_s)
        self._silenced = self.response_id  # whatever becomes of the cancel, nothing more of it is heard
        return [CancelResponse(self.standing.session, self.response_id)]

    def abandon(self, now: float) -> None:
        """With `turns = "model"` the model has stopped its own response: drop what still comes of it, and cancel nothing."""
        if self.state is ResponseState.ACTIVE:
            self._over_now(Signal.DONE, now, Refusal.CANCELLED_RESPONSE)

    # --- what happened

    def created(self, response_id: str, request: int | None, now: float) -> list[Command]:
        """A response began: ours, a late one that we gave up, or one of the model's own.

        Raises RemoteProtocolError when the peer starts a second response beside an active one.
        """
        known = response_id == self.response_id and self.state is not ResponseState.BLOCKED
        if known or response_id in self._over:
            return [Discard(Refusal.DUPLICATE)]
        doomed = self.state is ResponseState.DOOMED or request in self._doomed
        replaced = self.response_id
        self._signal(Signal.CREATED)
        if replaced is not None and replaced != response_id:
            self._remember(replaced, now, Refusal.CANCELLED_RESPONSE)
        self.response_id = response_id
        self.latest = self.asked.purpose if self.asked is not None else None
        self._wait(Timer.FIRST_AUDIO, now + self.settings.first_audio_limit_s)
        return self.stop(now) if doomed else []

    def progressed(self, now: float) -> None:
        """The active response produced something: it is not stuck."""
        self.deadlines.cancel(Timer.FIRST_AUDIO)
        self.deadlines.set(Timer.AUDIO_GAP, now + self.settings.audio_gap_limit_s)

    def done(self, response_id: str, now: float) -> bool:
        """A response is over; tells whether it was the current one, which is then no more."""
        nameless = self.state is ResponseState.BLOCKED and self.response_id is None
        if response_id != self.response_id and not (nameless and response_id not in self._over):
            if response_id not in self._over:
                self._remember(response_id, now, Refusal.TOO_LATE)
            return False
        verdict = Refusal.CANCELLED_RESPONSE if self.stopped else Refusal.TOO_LATE
        self.response_id = response_id
        self._over_now(Signal.DONE, now, verdict)
        return True

    def create_refused(self, event_id: str | None, now: float) -> Request | None:
        """The peer refused our create; the request that failed, None if it was an older one or is not wanted any more."""
        return self._end_request(Signal.CREATE_REFUSED, now) if self._is_current_create(event_id) else None

    def create_blocked(self, event_id: str | None, active_id: str | None, now: float) -> bool:
        """Our create was refused because a response is active that we do not know: wait for its end, then ask again.

        Tells whether it was about the current request.
        """
        if not self._is_current_create(event_id):
            return False
        if self.state is ResponseState.REQUESTED and self.asked is not None and self.asked.purpose is not Purpose.FILLER:
            self.keep(self.asked)
        self._signal(Signal.CREATE_BLOCKED)
        self.response_id = active_id
        self.asked = None
        self._wait(Timer.BLOCKED, now + self.settings.blocked_limit_s)
        return True

    def cancel_refused(self, event_id: str | None, now: float) -> bool:
        """The peer says that nothing is active: the response that we are cancelling is over. Tells whether that was so."""
        if not self._is_current_cancel(event_id):
            return False
        self._over_now(Signal.CANCEL_REFUSED, now, Refusal.CANCELLED_RESPONSE)
        return True

    def unsent(self, event_id: str, now: float) -> Request | None:
        """A command of ours could not be sent. A cancel may be tried again; the request of a create is returned."""
        if self._is_current_cancel(event_id):
            self._signal(Signal.CANCEL_UNSENT)
            self._wait(Timer.AUDIO_GAP, now + self.settings.audio_gap_limit_s)
            return None
        return self._end_request(Signal.CREATE_UNSENT, now) if self._is_current_create(event_id) else None

    def gave_up(self, now: float) -> Request | None:
        """A deadline of a waiting state passed; the request that got no answer, if it is still wanted."""
        if self.state is ResponseState.DOOMED:
            self._doomed = [*self._doomed, self.number][-DOOMED_LIMIT:]
        return self._end_request(Signal.GIVEN_UP, now)

    def session_ended(self, now: float) -> Request | None:
        """The session is gone and its response with it; the request or response that was cut off, if it is still wanted."""
        wanted = (self.asked or Request(Purpose.RETRY)) if self.coming and not self.stopped else None
        self._over_now(Signal.SESSION_ENDED, now, Refusal.CANCELLED_RESPONSE)
        return wanted

    # --- inside

    def _send_create(self, request: Request, now: float) -> CreateResponse:
        assert self.standing.session is not None  # refusal() said so
        self._signal(Signal.CREATE_SENT)
        self.number += 1
        self.asked = request if request.then is None else evolve(request, then=None)
        if request.then is not None:
            self.keep(Request(request.then))
        elif request.instructions is None and self.waiting is not None:
            self.waiting = evolve(self.waiting, then=None) if self.waiting.instructions is not None else None
        self._wait(Timer.CREATED, now + self.settings.created_limit_s)
        return CreateResponse(self.standing.session, self.number, request.purpose, request.instructions)

    def _is_current_create(self, event_id: str | None) -> bool:
        awaited = self.state in (ResponseState.REQUESTED, ResponseState.DOOMED)
        return awaited and (event_id is None or event_id == f"create-{self.number}")

    def _is_current_cancel(self, event_id: str | None) -> bool:
        awaited = self.state is ResponseState.CANCELLING
        return awaited and (event_id is None or event_id == f"cancel-{self.response_id}")

    def _end_request(self, signal: Signal, now: float) -> Request | None:
        asked = self.asked if self.state is ResponseState.REQUESTED else None
        self._over_now(signal, now, Refusal.CANCELLED_RESPONSE)
        return asked

    def _over_now(self, signal: Signal, now: float, verdict: Refusal) -> None:
        self._signal(signal)
        self.deadlines.cancel(*_TIMERS)
        if self.response_id is not None:
            self._remember(self.response_id, now, verdict)
        self.response_id = None
        self.asked = None

    def _wait(self, timer: Timer, until: float) -> None:
        """There is one deadline, that of the state that we are in."""
        self.deadlines.cancel(*_TIMERS)
        self.deadlines.set(timer, until)

    def _remember(self, response_id: str, now: float, verdict: Refusal) -> None:
        self._over[response_id] = (now, verdict)
        self._over.move_to_end(response_id)
        while len(self._over) > OVER_LIMIT or now - next(iter(self._over.values()))[0] > OVER_AGE_S:
            self._over.popitem(last=False)

    def _signal(self, signal: Signal) -> None:
        table: Mapping[Signal, Mapping[ResponseState, Cell]] = (
            MIRROR_TABLE if self.settings.turns is Turns.MODEL else RESPONSE_TABLE
        )
        cell = table[signal][self.state]
        if cell is Fault.OURS:
            raise LocalProtocolError(f"{signal.value!r} is not possible while the response is {self.state.value}")
        if cell is Fault.PEERS:
            raise RemoteProtocolError(
                f"the model reported {signal.value!r} while response {self.response_id} is {self.state.value}"
            )
        assert isinstance(cell, ResponseState)
        self.state = cell
