"""Call tokens: each opens one media stream, once, within a short time.

A token is made when a carrier's webhook is answered (or when somebody with the server's own token asks for one) and comes back
in the path of the stream's upgrade, so that a stranger is refused before there is a stream. It is signed and says itself what it
was made for, so that the stream may come to another process of the same server than the webhook did. That it was used is
remembered; several processes leave word of it for each other in a folder.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

import structlog
from attrs import define, field, frozen

from trio_voice.errors import RemoteProtocolError

log = structlog.get_logger(__name__)

WORD_LIMIT_S: Final = 24 * 3600.0
"""How long a word of a used token is kept: a carrier asks at the end of a long call what comes next."""
TIDY_EVERY: Final = 256
"""After so many used tokens the words that were left of expired ones are removed."""
REMEMBERED: Final = 65_536
"""So many tokens are remembered that were used: more than can be made within their life."""
_FACTS: Final = struct.Struct(">12sdB8s")
_MAC_BYTES: Final = 16
_TOKEN_CHARACTERS: Final = 60


class Issuer(Enum):
    """What a token was made for."""

    WEBHOOK = "webhook"
    """A carrier's webhook: the stream comes from the carrier."""
    API = "api"
    """The server's own user: a test call, the console's softphone."""


class TokenFault(Enum):
    """Why a token does not open a stream."""

    UNKNOWN = "unknown_token"
    USED = "used_token"
    EXPIRED = "expired_token"


class TokenRefused(RemoteProtocolError):  # noqa: N818 - a fact in the past tense, like trio.Cancelled
    """A token that does not open a stream."""

    def __init__(self, fault: TokenFault) -> None:
        super().__init__(_SENTENCES[fault])
        self.fault = fault


_SENTENCES = {
    TokenFault.UNKNOWN: "this call token was not made by this server (or before it was started anew); ask for a new one",
    TokenFault.USED: "this call token was used before: each opens one stream; ask for a new one",
    TokenFault.EXPIRED: "this call token has expired; ask for a new one, and connect at once",
}
_ISSUERS = tuple(Issuer)


@frozen
class Ticket:
    """What a token was made for."""

    issuer: Issuer
    expires_at: float
    call: bytes
    """A digest of the only call's id that it opens; nothing but zeros: any."""

    def opens(self, call_sid: str) -> bool:
        """Tell whether the token is for this call."""
        return self.call in (_digest(None), _digest(call_sid))


@define(eq=False)
class CallTokens:
    """Makes tokens, and takes them back."""

    limit_s: float = 60.0
    """How long a token is good."""
    key: bytes = field(factory=lambda: secrets.token_bytes(32), repr=False)
    """What signs them; all processes of one server have the same."""
    clock: Callable[[], float] = time.time
    """Seconds, the same for all processes of one server."""
    used_folder: Path | None = None
    """Where the processes of one server leave word of used tokens for each other; None: there is one process."""
    _open: OrderedDict[str, Ticket] = field(factory=OrderedDict, init=False)
    _used: OrderedDict[str, None] = field(factory=OrderedDict, init=False)

    def issue(self, issuer: Issuer, call_sid: str | None = None) -> str:
        """Make a token. A call that has one already gets the same: a carrier may ask its webhook twice."""
        if call_sid is not None and (known := self._token_of(call_sid)) is not None:
            return known
        ticket = Ticket(issuer, self.clock() + self.limit_s, _digest(call_sid))
        facts = _FACTS.pack(secrets.token_bytes(12), ticket.expires_at, _ISSUERS.index(issuer), ticket.call)
        token = urlsafe_b64encode(facts + self._mac(facts)).decode("ascii")
        self._open[token] = ticket
        return token

    def waits_for(self, call_sid: str) -> bool:
        """Tell whether there is a token that this call has not used yet."""
        return self._token_of(call_sid) is not None

    def find(self, token: str) -> Ticket:
        """Look at a token that is still good. Raises TokenRefused."""
        if token in self._used:
            raise TokenRefused(TokenFault.USED)
        ticket = self._read(token)
        if ticket is None:
            raise TokenRefused(TokenFault.UNKNOWN)
        if ticket.expires_at <= self.clock():
            raise TokenRefused(TokenFault.EXPIRED)
        return ticket

    def use(self, token: str) -> None:
        """Use a token up that was found just now. Raises TokenRefused when another process was faster."""
        self._open.pop(token, None)
        if self.used_folder is not None and not self._first_to_use(token, self.used_folder):
            raise TokenRefused(TokenFault.USED)
        self._used[token] = None
        while len(self._used) > REMEMBERED:
            self._used.popitem(last=False)

    def _first_to_use(self, token: str, folder: Path) -> bool:
        """Leave word that the token is used; False: somebody has. A disk that takes nothing must not keep callers out."""
        if not len(self._used) % TIDY_EVERY:
            self._tidy(folder)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._word(token, folder).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            log.warning("used call tokens cannot be told to the other workers", reason=error.strerror or str(error))
        return True

    def was_used_elsewhere(self, token: str) -> bool:
        """Tell whether another process has used a token."""
        if self.used_folder is None or token in self._used:
            return False
        try:
            return self._word(token, self.used_folder).exists()
        except OSError:
            return False

    @staticmethod
    def _word(token: str, folder: Path) -> Path:
        return folder / hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _tidy(self, folder: Path) -> None:
        with suppress(OSError):
            for path in folder.iterdir():
                if path.stat().st_mtime < time.time() - WORD_LIMIT_S:
                    path.unlink(missing_ok=True)

    @property
    def pending(self) -> int:
        """How many streams may still be opened with tokens that were made here."""
        self._expire()
        return len(self._open)

    def _token_of(self, call_sid: str) -> str | None:
        self._expire()
        call = _digest(call_sid)
        return next((token for token, ticket in self._open.items() if ticket.call == call), None)

    def _expire(self) -> None:
        now = self.clock()
        while self._open:
            token, ticket = next(iter(self._open.items()))
            if ticket.expires_at > now:
                return
            del self._open[token]

    def _read(self, token: str) -> Ticket | None:
        """Read what a token says; None: it is not one of ours."""
        if len(token) != _TOKEN_CHARACTERS or not token.isascii():
            return None
        try:
            data = urlsafe_b64decode(token)
        except ValueError:
            return None
        if urlsafe_b64encode(data).decode("ascii") != token:
            return None  # another spelling of a token: that it was used is remembered by how it is spelt
        facts, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if len(facts) != _FACTS.size or not hmac.compare_digest(mac, self._mac(facts)):
            return None
        _nonce, expires_at, issuer, call = _FACTS.unpack(facts)
        return Ticket(_ISSUERS[issuer], expires_at, call)

    def _mac(self, facts: bytes) -> bytes:
        return hmac.digest(self.key, facts, "sha256")[:_MAC_BYTES]


def _digest(call_sid: str | None) -> bytes:
    return bytes(8) if call_sid is None else hashlib.sha256(call_sid.encode("utf-8", "surrogatepass")).digest()[:8]
