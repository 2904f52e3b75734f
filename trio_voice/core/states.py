"""The state machines of a call, as tables.

There are four, and every one of them is one variable whose value is a member of an enum. What an event means depends on those
four values and on the facts beside them (which response, which item, how much was heard), never on a flag.

The response machine: may we ask, may we cancel?
------------------------------------------------
The Realtime protocol allows one active response in a conversation. `response.create` is answered, after a while, by
`response.created` or by an error; `response.cancel` by `response.done` or by an error; and the caller can begin to speak at any
moment between. Five of the six states are the five things that can be true about "the" response:

    IDLE        none is in progress, none is asked for
    REQUESTED   response.create has left, response.created has not come: there is no id yet
    DOOMED      as REQUESTED, but the caller has begun to speak: it will be cancelled the moment its id is known
    ACTIVE      in progress, id known
    CANCELLING  response.cancel has left, response.done has not come

and the sixth is what a peer that disagrees with us forces:

    BLOCKED     our create was refused because a response is active that we were never told of; we wait for its end

The signals are what happens to it. A cell of the table is the state that follows, or whose fault it is that we came there:

    OURS     trio-voice signalled what cannot be, a bug (`LocalProtocolError`)
    PEERS    the model broke its protocol (`RemoteProtocolError`): journalled, the session is replaced, and the call goes on

What the peer says is matched before it becomes a signal, because the wire's order is not the machine's: `response.done` of a
cancelled response may come after the next `response.created`, and a duplicate or a straggler names a response that is already
remembered as over. A report about another response, another request or another cancel than the current one is dropped there,
which is why so few cells are the peer's fault. A deadline leads out of every state but IDLE (GIVEN_UP; from ACTIVE by way of a
cancel).

A cancel that could not be sent goes back to ACTIVE, so that the next barge-in may cancel again; one that was sent is never sent
again. `response_cancel_not_active` means that the response ended while our cancel was on its way: it is over.

With `turns = "model"` the model creates and cancels by itself, and the table only mirrors it: there a `response.created` while
another response is in progress is legal, because the model's own cancel may be reported late (`MIRROR`).

The call machine: who owns the line?
------------------------------------
    CONNECTING  the caller is there, the model's session is not
    GREETING    the greeting is being asked for, generated or heard: the lock holds
    CONVERSING  the usual state
    GOODBYE     the call shall end when what is being said has been heard; a caller who speaks may keep it
    LEAVING     the call cannot go on: an apology is heard, then it ends; nobody can keep it
    HANGING_UP  the hang-up has been commanded; nothing but the close follows
    CLOSED      the end

What a request for a response is told in each of them is `REFUSALS`: the lock, the pending hang-up and the closing of a call are
not flags beside the guard but the state that it looks at.

The turn machine: what does the caller do?
------------------------------------------
    QUIET       nothing
    SPEAKING    speech-started came, speech-stopped did not
    ENDING      speech stopped and the turn-end deadline runs; speech that resumes now continues the same turn
    COMMITTING  the turn-end deadline has passed, but the model has not committed the audio yet
    OWED        the turn is committed and a reply is owed; the watchdog runs

The change machine: whose session is it?
----------------------------------------
A session may have to become another one: with another voice, or with another agent's instructions and tools. And it may have to
be replaced as it is, because it was lost or grows old. All four are one mechanism: session n+1 is opened beside session n, is
told the conversation so far as text, and takes over at a turn boundary, that is when no response is in progress, what was said
has been heard, and the caller does not speak. What the caller says meanwhile is kept and handed on. Only when the takeover comes
differs: a session that was lost is replaced at once, an old one in the next silence, and a change is waited for:

    SETTLED     the serving session is as it shall be
    WAITING     the serving session can be changed as it is, at the next turn boundary
    UPDATING    session.update has left, session.updated has not come
    OPENING     session n+1 is being opened with the new setup
    READY       it is open, and takes over at the next turn boundary

A voice cannot change in a session that has spoken, so a change of voice is made in place only before the first response; a
change of instructions and tools alone always is. While a change is on its way no reply is asked for: the next one is the new
agent's, with its tools. (Unless the caller's words are not told to us as text, and a turn is owed: then only the old session has
heard it, and answers it first.) A change that is refused, or not made within its limit, leaves the old session serving.

What is not in the tables
-------------------------
How much the caller has heard (`playback`), whether a speech-started is a barge-in (`gate`), and the numbers of the sessions
(`sessions`). A session that is lost sends the response machine SESSION_ENDED from any state. The change goes on in a new
session, a turn that was taken is owed by the next one, and the call machine does not notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from trio_voice.core.commands import Refusal


class ResponseState(Enum):
    """See the theory above."""

    __hash__ = object.__hash__  # see deadlines.Timer

    IDLE = "idle"
    REQUESTED = "requested"
    DOOMED = "doomed"
    ACTIVE = "active"
    CANCELLING = "cancelling"
    BLOCKED = "blocked"


class Signal(Enum):
    """What happens to the response machine."""

    __hash__ = object.__hash__  # see deadlines.Timer

    CREATE_SENT = "create sent"
    CREATED = "created"
    DOOMED = "doomed"
    CANCEL_SENT = "cancel sent"
    DONE = "done"
    CREATE_REFUSED = "create refused"
    CREATE_BLOCKED = "create refused: one is active"
    CANCEL_REFUSED = "cancel refused: not active"
    CREATE_UNSENT = "create could not be sent"
    CANCEL_UNSENT = "cancel could not be sent"
    GIVEN_UP = "deadline passed"
    SESSION_ENDED = "session ended"


class Fault(Enum):
    """A cell without a transition: whose fault it is that we came here."""

    OURS = "ours"
    PEERS = "the peer's"


OURS, PEERS = Fault.OURS, Fault.PEERS
Cell = ResponseState | Fault

# fmt: off
_IDLE, _REQ, _DOOM, _ACT, _CANC, _BLOCK = ResponseState
_ROWS: Mapping[Signal, tuple[Cell, ...]] = {
    #                       IDLE   REQUESTED  DOOMED  ACTIVE  CANCELLING  BLOCKED
    Signal.CREATE_SENT:    (_REQ,  OURS,      OURS,   OURS,   OURS,       OURS),
    Signal.CREATED:        (_ACT,  _ACT,      _ACT,   PEERS,  PEERS,      _ACT),
    Signal.DOOMED:         (OURS,  _DOOM,     OURS,   OURS,   OURS,       OURS),
    Signal.CANCEL_SENT:    (OURS,  OURS,      OURS,   _CANC,  OURS,       _CANC),
    Signal.DONE:           (OURS,  OURS,      OURS,   _IDLE,  _IDLE,      _IDLE),
    Signal.CREATE_REFUSED: (OURS,  _IDLE,     _IDLE,  OURS,   OURS,       OURS),
    Signal.CREATE_BLOCKED: (OURS,  _BLOCK,    _BLOCK, OURS,   OURS,       OURS),
    Signal.CANCEL_REFUSED: (OURS,  OURS,      OURS,   OURS,   _IDLE,      OURS),
    Signal.CREATE_UNSENT:  (OURS,  _IDLE,     _IDLE,  OURS,   OURS,       OURS),
    Signal.CANCEL_UNSENT:  (OURS,  OURS,      OURS,   OURS,   _ACT,       OURS),
    Signal.GIVEN_UP:       (OURS,  _IDLE,     _IDLE,  OURS,   _IDLE,      _IDLE),
    Signal.SESSION_ENDED:  (_IDLE, _IDLE,     _IDLE,  _IDLE,  _IDLE,      _IDLE),
}
# fmt: on

RESPONSE_TABLE: Mapping[Signal, Mapping[ResponseState, Cell]] = {
    signal: dict(zip(ResponseState, row, strict=True)) for signal, row in _ROWS.items()
}

MIRROR_TABLE: Mapping[Signal, Mapping[ResponseState, Cell]] = {
    **RESPONSE_TABLE,
    Signal.CREATED: dict.fromkeys(ResponseState, ResponseState.ACTIVE),
}


class CallState(Enum):
    """See the theory above."""

    __hash__ = object.__hash__  # see deadlines.Timer

    CONNECTING = "connecting"
    GREETING = "greeting"
    CONVERSING = "conversing"
    GOODBYE = "goodbye"
    LEAVING = "leaving"
    HANGING_UP = "hanging_up"
    CLOSED = "closed"


REFUSALS: Mapping[CallState, Refusal | None] = {
    CallState.CONNECTING: Refusal.NO_SESSION,
    CallState.GREETING: Refusal.GREETING_LOCK,
    CallState.CONVERSING: None,
    CallState.GOODBYE: Refusal.HANG_UP_PENDING,
    CallState.LEAVING: Refusal.CLOSING,
    CallState.HANGING_UP: Refusal.CLOSING,
    CallState.CLOSED: Refusal.CLOSING,
}


class TurnState(Enum):
    """See the theory above."""

    __hash__ = object.__hash__  # see deadlines.Timer

    QUIET = "quiet"
    SPEAKING = "speaking"
    ENDING = "ending"
    COMMITTING = "committing"
    OWED = "owed"


CALLER_HAS_THE_FLOOR = frozenset({TurnState.SPEAKING, TurnState.ENDING, TurnState.COMMITTING})
"""The caller has said something that the model may not have taken into the conversation yet."""


class ChangeState(Enum):
    """See the theory above."""

    __hash__ = object.__hash__  # see deadlines.Timer

    SETTLED = "settled"
    WAITING = "waiting"
    UPDATING = "updating"
    OPENING = "opening"
    READY = "ready"


class ChangeSignal(Enum):
    """What happens to the change machine."""

    __hash__ = object.__hash__  # see deadlines.Timer

    ASKED_IN_PLACE = "asked, in place"
    ASKED_ANEW = "asked, in a new session"
    UPDATE_SENT = "update sent"
    SESSION_READY = "new session ready"
    SPARE_LOST = "new session lost"
    SERVING_LOST = "serving session lost"
    MADE = "change made"
    FAILED = "change failed"


# fmt: off
_SET, _WAIT, _UPD, _OPEN, _READY = ChangeState
_CHANGE_ROWS: Mapping[ChangeSignal, tuple[ChangeState | Fault, ...]] = {
    #                             SETTLED WAITING UPDATING OPENING READY
    ChangeSignal.ASKED_IN_PLACE: (_WAIT,  OURS,   OURS,    OURS,   OURS),
    ChangeSignal.ASKED_ANEW:     (_OPEN,  OURS,   OURS,    OURS,   OURS),
    ChangeSignal.UPDATE_SENT:    (OURS,   _UPD,   OURS,    OURS,   OURS),
    ChangeSignal.SESSION_READY:  (OURS,   OURS,   OURS,    _READY, OURS),
    ChangeSignal.SPARE_LOST:     (OURS,   OURS,   OURS,    _OPEN,  _OPEN),
    ChangeSignal.SERVING_LOST:   (_SET,   _OPEN,  _OPEN,   _OPEN,  _READY),
    ChangeSignal.MADE:           (OURS,   OURS,   _SET,    OURS,   _SET),
    ChangeSignal.FAILED:         (OURS,   _SET,   _SET,    _SET,   _SET),
}
# fmt: on

CHANGE_TABLE: Mapping[ChangeSignal, Mapping[ChangeState, ChangeState | Fault]] = {
    signal: dict(zip(ChangeState, row, strict=True)) for signal, row in _CHANGE_ROWS.items()
}
