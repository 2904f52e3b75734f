"""Which media streams are let in: how many, how often, and with what proof. A place is taken before a stream is accepted.

Proof is a call token in the path (see `tokens`), or the carrier's signature on the upgrade. A token that was made for a carrier's
webhook needs the signature besides, where the account's auth token is known. Clients on this machine may need neither.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

import trio
from attrs import define, field, frozen

from trio_voice.server.clients import client_address, is_local, is_of_same_origin
from trio_voice.server.rates import RateLimit
from trio_voice.server.tokens import CallTokens, Issuer, Ticket, TokenFault, TokenRefused
from trio_voice.server.twilio_signature import HEADER, Pairs, is_signed

REMEMBERED_CALLS = 4096
SIGNED_DIALECT = "twilio"


class MediaAccess(Enum):
    """Who may open a media stream without a proof."""

    OPEN = "open"
    """Everybody who reaches the server."""
    LOCAL = "local"
    """Clients on this machine, unless a tunnel or a proxy stands between."""
    GUARDED = "guarded"
    """Nobody."""


class EntryFault(Enum):
    """Why a call was not taken; logs and metrics use the same words."""

    BUSY = "busy"
    DRAINING = "draining"
    TOO_OFTEN = "too_often"
    NO_PROOF = "no_proof"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105 - a word, not a secret
    USED_TOKEN = "used_token"  # noqa: S105 - likewise
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - likewise
    WRONG_CALL = "wrong_call"
    NO_SIGNATURE = "no_signature"
    WRONG_SIGNATURE = "wrong_signature"
    FOREIGN_PAGE = "foreign_page"
    REPEATED = "repeated"


class _Proven(Enum):
    """Whether a client has shown that it may call; NO: it need not."""

    YES = "yes"
    NO = "no"


@frozen
class Refused:
    """A call that is not taken: why, the HTTP status, and a sentence for the log and the client."""

    fault: EntryFault
    status: int
    text: str


@frozen
class Admitted:
    """A stream that may be accepted; `ticket` is what its token was made for."""

    ticket: Ticket | None = None


@frozen
class Proof:
    """What a carrier's signatures are checked with."""

    public_url: str | None = None
    """The server's address as the world knows it, without a slash at its end."""
    auth_tokens: tuple[str, ...] = field(default=(), repr=False)

    @property
    def can_check(self) -> bool:
        """Signatures can be checked."""
        return bool(self.auth_tokens) and self.public_url is not None

    def fault(self, headers: Mapping[str, str], target: str, *, websocket: bool = False, form: Pairs = ()) -> EntryFault | None:
        """Check a request's signature over the public URL; None: it is right. `target` is path and query as they were sent."""
        signature = headers.get(HEADER)
        if not signature:
            return EntryFault.NO_SIGNATURE
        assert self.public_url is not None
        base = f"ws{self.public_url.removeprefix('http')}" if websocket else self.public_url
        return None if is_signed(signature, self.auth_tokens, f"{base}{target}", form) else EntryFault.WRONG_SIGNATURE


@define(eq=False, kw_only=True)
class Admission:
    """The doorkeeper of one server."""

    max_calls: int = 0
    """How many calls there may be at once; 0: any number."""
    access: MediaAccess = MediaAccess.OPEN
    proof: Proof = field(factory=Proof)
    rate: RateLimit = field(factory=lambda: RateLimit(0))
    tokens: CallTokens = field(factory=CallTokens)
    draining: trio.Event = field(factory=trio.Event)
    on_refusal: Callable[[EntryFault], None] = field(default=lambda _fault: None)
    refusals: Counter[EntryFault] = field(factory=Counter, init=False)
    _calls: int = field(default=0, init=False)
    _answered: OrderedDict[str, None] = field(factory=OrderedDict, init=False)

    @property
    def places_taken(self) -> int:
        """Calls in progress, and tokens that were made for calls to come."""
        return self._calls + self.tokens.pending

    @property
    def full(self) -> bool:
        """No more calls can be taken."""
        return bool(self.max_calls) and self.places_taken >= self.max_calls

    # --- before there is a stream: webhooks

    def welcome(self, *, has_place: bool = False) -> Refused | None:
        """Tell whether a new call could be taken now; None: yes. `has_place`: it has taken its place before."""
        if self.draining.is_set():
            return self.refuse(EntryFault.DRAINING)
        if not has_place and self.full:
            return self.refuse(EntryFault.BUSY, detail=f"{self.max_calls} calls at once")
        return None

    def count_stranger(self, remote: str, headers: Mapping[str, str]) -> Refused | None:
        """Count somebody who has shown no proof, or a wrong one; None: they may still try."""
        address = client_address(remote, headers)
        if address == "unknown" or is_local(remote, headers) or self.rate.allows(address):
            return None
        return self.refuse(EntryFault.TOO_OFTEN, detail=f"{self.rate.per_minute} a minute from one address")

    def refuse(self, fault: EntryFault, *, detail: str = "") -> Refused:
        """Count a refusal, and put it into words."""
        self.refusals[fault] += 1
        self.on_refusal(fault)
        status, sentence = _ANSWERS[fault]
        return Refused(fault, status, f"{sentence} ({detail})" if detail else sentence)

    # --- a stream

    @contextmanager
    def entry(
        self, dialect: str, target: str, token: str, remote: str, headers: Mapping[str, str]
    ) -> Iterator[Admitted | Refused]:
        """Let a stream in, for the time of the block, or say why not. `token` is the one in the path, "" for none."""
        verdict = self._judge(dialect, target, token, remote, headers)
        if isinstance(verdict, Refused):
            yield verdict
            return
        self._calls += 1
        try:
            yield verdict
        finally:
            self._calls -= 1

    def _judge(self, dialect: str, target: str, token: str, remote: str, headers: Mapping[str, str]) -> Admitted | Refused:
        if not is_of_same_origin(headers):
            return self.count_stranger(remote, headers) or self.refuse(EntryFault.FOREIGN_PAGE)
        proven = self._prove(dialect, target, token, remote, headers)
        if proven is not _Proven.YES and (refused := self.count_stranger(remote, headers)) is not None:
            return refused
        if isinstance(proven, EntryFault):
            return self.refuse(proven)
        return self.welcome(has_place=bool(token)) or self._admit(token)

    def _prove(self, dialect: str, target: str, token: str, remote: str, headers: Mapping[str, str]) -> _Proven | EntryFault:
        """Look at what a client shows. A token is not used up by it: whoever has read it in some log must not do that."""
        if token:
            try:
                ticket = self.tokens.find(token)
            except TokenRefused as error:
                return _OF_TOKENS[error.fault]
            wants_signature = ticket.issuer is Issuer.WEBHOOK and self._signs(dialect)
        elif self.access is MediaAccess.OPEN or (self.access is MediaAccess.LOCAL and is_local(remote, headers)):
            return _Proven.NO
        elif not self._signs(dialect) or HEADER not in headers:
            return EntryFault.NO_PROOF
        else:
            wants_signature = True
        fault = self.proof.fault(headers, target, websocket=True) if wants_signature else None
        return _Proven.YES if fault is None else fault

    def _admit(self, token: str) -> Admitted | Refused:
        if not token:
            return Admitted()
        try:
            ticket = self.tokens.find(token)
            self.tokens.use(token)
        except TokenRefused as error:
            return self.refuse(_OF_TOKENS[error.fault])
        return Admitted(ticket)

    def _signs(self, dialect: str) -> bool:
        return dialect == SIGNED_DIALECT and self.proof.can_check

    # --- what became of calls

    def note_answered(self, call_sid: str) -> None:
        """Remember that a call had its stream: what the carrier does next depends on it."""
        self._answered[call_sid] = None
        while len(self._answered) > REMEMBERED_CALLS:
            self._answered.popitem(last=False)

    def was_answered(self, call_sid: str, token: str = "") -> bool:
        """Tell whether a call had its stream, here or, as its token tells, in another process."""
        return call_sid in self._answered or self.tokens.was_used_elsewhere(token)


_OF_TOKENS: Mapping[TokenFault, EntryFault] = {
    TokenFault.UNKNOWN: EntryFault.UNKNOWN_TOKEN,
    TokenFault.USED: EntryFault.USED_TOKEN,
    TokenFault.EXPIRED: EntryFault.EXPIRED_TOKEN,
}

_ANSWERS: Mapping[EntryFault, tuple[int, str]] = {
    EntryFault.BUSY: (503, "all lines are busy; call again later"),
    EntryFault.DRAINING: (503, "this server is ending and takes no new calls"),
    EntryFault.TOO_OFTEN: (429, "too many calls from this address; wait a minute"),
    EntryFault.NO_PROOF: (
        403,
        (
            "this media stream needs a call token in its path (/media/<dialect>/<token>): the carrier's webhook answers with "
            "one, POST /api/v1/call-tokens makes one, and `make call` fetches its own; see server.media_access"
        ),
    ),
    EntryFault.UNKNOWN_TOKEN: (403, str(TokenRefused(TokenFault.UNKNOWN))),
    EntryFault.USED_TOKEN: (403, str(TokenRefused(TokenFault.USED))),
    EntryFault.EXPIRED_TOKEN: (403, str(TokenRefused(TokenFault.EXPIRED))),
    EntryFault.WRONG_CALL: (403, "this call token was made for another call"),
    EntryFault.NO_SIGNATURE: (403, "the carrier's signature (X-Twilio-Signature) is missing"),
    EntryFault.WRONG_SIGNATURE: (
        403,
        (
            "the signature (X-Twilio-Signature) is wrong: check that server.public_url is exactly the address that the carrier "
            "uses, and that TWILIO_AUTH_TOKEN is this account's primary auth token"
        ),
    ),
    EntryFault.FOREIGN_PAGE: (403, "this stream was asked for by the page of another site"),
    EntryFault.REPEATED: (409, "this call's webhook was answered before, and the call is in progress"),
}
