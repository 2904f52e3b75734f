"""The one guard of response.create and response.cancel.

Everything that wants a reply, and everything that wants one to stop, asks this object. It answers with the command, or with a
refusal that has a name. What may be asked in which state is the table in `states`; this class adds the ids, the deadlines, and
the slot in which one refused request waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping

from attrs import define, field, frozen

from trio_voice.core.commands import CancelResponse, Command, CreateResponse, Discard, Note, Purpose, Refusal, Refuse
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings, Turns
from trio_voice.core.standing import Standing
from trio_voice.core.states import (
    MIRROR_TABLE,
    REFUSALS,
    RESPONSE_TABLE,
    Cell,
    Fault,
    ResponseState,
    Signal,
    TurnState,
)
from trio_voice.errors import LocalProtocolError, RemoteProtocolError

OVER_LIMIT = 100
OVER_AGE_S = 60.0
GIVEN_UP_LIMIT = 16

_EXEMPT = {Purpose.GREETING: Refusal.GREETING_LOCK, Purpose.FAREWELL: Refusal.HANG_UP_PENDING}
_PASSING = frozenset({Refusal.RESPONSE_ACTIVE, Refusal.GREETING_LOCK, Refusal.NO_SESSION, Refusal.CALLER_SPEAKING})
_OWN_TIMER = frozenset({Purpose.WATCHDOG, Purpose.IDLE_PROMPT})
_ON_A_FLOOR_TAKEN = frozenset({Purpose.GREETING, Purpose.FAREWELL})
_NEEDS_CALIBRATION = frozenset({Purpose.WATCHDOG, Purpose.IDLE_PROMPT})
_CALLER_HAS_THE_FLOOR = frozenset({TurnState.SPEAKING, TurnState.ENDING, TurnState.COMMITTING})
_TIMERS = (Timer.CREATED, Timer.FIRST_AUDIO, Timer.AUDIO_GAP, Timer.DONE, Timer.BLOCKED)


@frozen
class Request:
    """A wish for a reply: why, and with what instructions (None: the session's own)."""

    purpose: Purpose
    instructions: str | None = None


def merged(waiting: Request | None, request: Request) -> Request:
    """One request for two: the one with instructions of its own stands, because the next reply sees the conversation anyway."""
    if waiting is None or (request.instructions is not None and waiting.instructions is None):
        return request
    return waiting


@define
class ResponseGuard:
    """See the module's text. Every method that acts returns the commands that it decided on."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    state: ResponseState = field(default=ResponseState.IDLE, init=False)
    response_id: str | None = field(default=None, init=False)
    asked: Request | None = field(default=None, init=False)
    waiting: Request | None = field(default=None, init=False)
    _request: int = field(default=0, init=False)
    _over: OrderedDict[str, tuple[float, Refusal]] = field(factory=OrderedDict, init=False)
    _silenced: str | None = field(default=None, init=False)
    _doomed_requests: deque[int] = field(factory=lambda: deque(maxlen=GIVEN_UP_LIMIT), init=False)
    _table: Mapping[Signal, Mapping[ResponseState, Cell]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._table = MIRROR_TABLE if self.settings.turns is Turns.MODEL else RESPONSE_TABLE

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
    def waiting_for(self) -> Purpose | None:
        """What the waiting request is for; None when none waits."""
        return self.waiting.purpose if self.waiting else None

    def refusal(self, purpose: Purpose) -> Refusal | None:
        """Why a request for this purpose would be refused now; None if it would be made."""
        by_call = REFUSALS[self.standing.call]
        if by_call is not None and _EXEMPT.get(purpose) is not by_call:
            return by_call
        if self.standing.session is None:
            return Refusal.NO_SESSION
        if self.state is not ResponseState.IDLE:
            return Refusal.RESPONSE_ACTIVE
        if self.standing.turn in _CALLER_HAS_THE_FLOOR and purpose not in _ON_A_FLOOR_TAKEN:
            return Refusal.CALLER_SPEAKING
        if not self.standing.calibrated and purpose in _NEEDS_CALIBRATION:
            return Refusal.NOT_CALIBRATED
        return None

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

        A `forced` request (only a greeting may be) stops the active response and takes its place.
        """
        refusal = self.refusal(request.purpose)
        if refusal is None:
            return [self._send_create(request, now)]
        waits = refusal in _PASSING and request.purpose not in _OWN_TIMER
        if waits:
            self.waiting = merged(self.waiting, request)
        answer: list[Command] = [Refuse(request.purpose, refusal, waits)]
        if forced and refusal is Refusal.RESPONSE_ACTIVE:
            if request.purpose is not Purpose.GREETING:
                raise LocalProtocolError(f"only a greeting may be forced past an active response, not {request.purpose.value}")
            self.waiting = request
            answer += self.stop(now)
        return answer

    def release(self, now: float) -> list[Command]:
        """Make the waiting request, if nothing stands against it any more."""
        if self.waiting is None or self.refusal(self.waiting.purpose) is not None:
            return []
        request, self.waiting = self.waiting, None
        return [self._send_create(request, now)]

    def stop(self, now: float) -> list[Command]:
        """Stop the response that is in progress or asked for: the only way to a cancel. Asking twice changes nothing."""
        match self.state:
            case ResponseState.REQUESTED:
                self._signal(Signal.DOOMED)
                return []
            case ResponseState.ACTIVE | ResponseState.BLOCKED if self.response_id is not None:
                return self._send_cancel(self.response_id, now)
            case _:
                return []

    def abandon(self, now: float) -> None:
        """The model itself stops the active response (`turns = "model"`): drop what still comes of it, cancel nothing."""
        if self.state is ResponseState.ACTIVE and self.response_id is not None:
            self._remember(self.response_id, now, Refusal.CANCELLED_RESPONSE)
            self._over_now(Signal.DONE)

    # --- what happened

    def created(self, response_id: str, request: int | None, now: float) -> list[Command]:
        """A response began: ours, a late one that we gave up, or one of the model's own.

        Raises RemoteProtocolError when the peer starts a second response beside an active one.
        """
        if response_id == self.response_id or response_id in self._over:
            return [Discard(Refusal.DUPLICATE)]
        doomed = self.state is ResponseState.DOOMED or request in self._doomed_requests
        self._signal(Signal.CREATED)
        self.deadlines.cancel(*_TIMERS)
        self.response_id = response_id
        self.deadlines.set(Timer.FIRST_AUDIO, now + self.settings.first_audio_limit_s)
        return self.stop(now) if doomed else []

    def progressed(self, now: float) -> None:
        """The active response produced something: it is not stuck."""
        self.deadlines.cancel(Timer.FIRST_AUDIO)
        self.deadlines.set(Timer.AUDIO_GAP, now + self.settings.audio_gap_limit_s)

    def done(self, response_id: str, now: float) -> bool:
        """A response is over; tells whether it was the current one, which is then no more."""
        cancelled = self.state is ResponseState.CANCELLING and response_id == self.response_id
        current = response_id == self.response_id or (self.state is ResponseState.BLOCKED and response_id not in self._over)
        if current or response_id not in self._over:
            self._remember(response_id, now, Refusal.CANCELLED_RESPONSE if cancelled else Refusal.TOO_LATE)
        if current:
            self._over_now(Signal.DONE)
        return current

    def create_refused(self, event_id: str | None) -> Request | None:
        """The peer refused our create; the request that failed, None if it was an older one or is not wanted any more."""
        if self.state not in (ResponseState.REQUESTED, ResponseState.DOOMED) or not self._is_current_create(event_id):
            return None
        asked = self.asked if self.state is ResponseState.REQUESTED else None
        self._over_now(Signal.CREATE_REFUSED)
        return asked

    def create_blocked(self, event_id: str | None, active_id: str | None, now: float) -> None:
        """Our create was refused because a response is active that we do not know: wait for its end, then ask again."""
        if self.state not in (ResponseState.REQUESTED, ResponseState.DOOMED) or not self._is_current_create(event_id):
            return
        if self.state is ResponseState.REQUESTED and self.asked is not None:
            self.waiting = merged(self.waiting, self.asked)
        self._signal(Signal.CREATE_BLOCKED)
        self.deadlines.cancel(*_TIMERS)
        self.response_id = None if active_id in self._over else active_id
        self.deadlines.set(Timer.BLOCKED, now + self.settings.created_limit_s)

    def cancel_refused(self, event_id: str | None, now: float) -> bool:
        """The peer says that nothing is active: the response that we are cancelling is over. Tells whether that was so."""
        if self.state is not ResponseState.CANCELLING or self.response_id is None:
            return False
        if event_id is not None and event_id != f"cancel-{self.response_id}":
            return False
        self._remember(self.response_id, now, Refusal.CANCELLED_RESPONSE)
        self._over_now(Signal.CANCEL_REFUSED)
        return True

    def unsent(self, event_id: str, now: float) -> Request | None:
        """A command of ours could not be sent. A cancel may be tried again; the request of a create is returned."""
        if self.state is ResponseState.CANCELLING and event_id == f"cancel-{self.response_id}":
            self._signal(Signal.CANCEL_UNSENT)
            self.deadlines.cancel(*_TIMERS)
            self.deadlines.set(Timer.AUDIO_GAP, now + self.settings.audio_gap_limit_s)
            return None
        if self.state in (ResponseState.REQUESTED, ResponseState.DOOMED) and event_id == f"create-{self._request}":
            asked = self.asked if self.state is ResponseState.REQUESTED else None
            self._over_now(Signal.CREATE_UNSENT)
            return asked
        return None

    def gave_up(self, now: float) -> Request | None:
        """A deadline of a waiting state passed; the request that got no answer, if it is still wanted."""
        asked = self.asked if self.state is ResponseState.REQUESTED else None
        if self.state is ResponseState.DOOMED:
            self._doomed_requests.append(self._request)
        if self.response_id is not None:
            self._remember(self.response_id, now, Refusal.CANCELLED_RESPONSE)
        self._over_now(Signal.GIVEN_UP)
        return asked

    def session_ended(self, now: float) -> Request | None:
        """The session is gone and its response with it; the request or response that was cut off, if it is still wanted."""
        wanted = self.asked if self.coming else None
        if self.response_id is not None:
            self._remember(self.response_id, now, Refusal.CANCELLED_RESPONSE)
        self._over_now(Signal.SESSION_ENDED)
        return wanted

    # --- inside

    def _send_create(self, request: Request, now: float) -> CreateResponse:
        assert self.standing.session is not None  # refusal() said so
        self._signal(Signal.CREATE_SENT)
        self._request += 1
        self.asked = request
        self.deadlines.set(Timer.CREATED, now + self.settings.created_limit_s)
        return CreateResponse(self.standing.session, self._request, request.purpose, request.instructions)

    def _send_cancel(self, response_id: str, now: float) -> list[Command]:
        if self.standing.session is None:
            return [Note("nothing to cancel: the session is gone")]
        self._signal(Signal.CANCEL_SENT)
        self.deadlines.cancel(*_TIMERS)
        self.deadlines.set(Timer.DONE, now + self.settings.done_limit_s)
        self._silenced = response_id  # whatever becomes of the cancel, nothing more of it is heard
        return [CancelResponse(self.standing.session, response_id)]

    def _is_current_create(self, event_id: str | None) -> bool:
        return event_id is None or event_id == f"create-{self._request}"

    def _over_now(self, signal: Signal) -> None:
        self._signal(signal)
        self.deadlines.cancel(*_TIMERS)
        self.response_id = None
        self.asked = None

    def _remember(self, response_id: str, now: float, verdict: Refusal) -> None:
        self._over[response_id] = (now, verdict)
        self._over.move_to_end(response_id)
        while len(self._over) > OVER_LIMIT or now - next(iter(self._over.values()))[0] > OVER_AGE_S:
            self._over.popitem(last=False)

    def _signal(self, signal: Signal) -> None:
        cell = self._table[signal][self.state]
        if cell is Fault.OURS:
            raise LocalProtocolError(f"{signal.value!r} is not possible while the response is {self.state.value}")
        if cell is Fault.PEERS:
            raise RemoteProtocolError(
                f"the model reported {signal.value!r} while response {self.response_id} is {self.state.value}"
            )
        assert isinstance(cell, ResponseState)
        self.state = cell
