"""From settings to who may come in: the admission of calls, the carrier's hang-up, and warnings about what is left open."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio

from trio_voice.config import Settings
from trio_voice.sections import MediaAccess as Wanted
from trio_voice.server.admission import Admission, MediaAccess, Proof
from trio_voice.server.answering import HangUp
from trio_voice.server.certificates import ServerCertificate
from trio_voice.server.clients import is_loopback
from trio_voice.server.rates import RateLimit
from trio_voice.server.tokens import CallTokens
from trio_voice.storage.redaction import Redaction


def make_admission(settings: Settings, *, api_token: str, draining: trio.Event) -> Admission:
    """Make the doorkeeper. Processes with the same API token take each other's call tokens."""
    server = settings.server
    public_url = None if server.public_url is None else server.public_url.rstrip("/")
    used = server.calls_folder / ".used-call-tokens" if server.workers > 1 else None
    return Admission(
        max_calls=server.max_calls,
        access=media_access(settings),
        proof=Proof(public_url, settings.credentials.twilio_auth_tokens),
        rate=RateLimit(server.calls_per_minute),
        tokens=CallTokens(server.call_token_limit_s, hmac.digest(api_token.encode(), b"call tokens", "sha256"), used_folder=used),
        draining=draining,
    )


def media_access(settings: Settings) -> MediaAccess:
    """Work out who needs no proof. What can be reached from outside is guarded unless its owner says otherwise."""
    server = settings.server
    if server.media_access is not Wanted.AUTO:
        return MediaAccess(server.media_access.value)
    return MediaAccess.LOCAL if is_loopback(server.host) and server.public_url is None else MediaAccess.GUARDED


def server_certificate(settings: Settings) -> ServerCertificate | None:
    """Load our own certificate; None: plain HTTP is spoken. Raises ConfigError."""
    server = settings.server
    if server.tls_certificate_file is None:
        return None
    host = None if server.public_url is None else urlsplit(server.public_url).hostname
    return ServerCertificate(server.tls_certificate_file, server.tls_key_file, host)


def log_redaction(settings: Settings) -> Redaction:
    """What takes secrets and telephone numbers out of logs."""
    return Redaction(_secrets(settings), settings.server.show_numbers)


def journal_redaction(settings: Settings, api_token: str) -> Redaction:
    """What takes secrets out of journals. What was said in a call is in its journal, numbers too: that is what a journal is."""
    return Redaction((*_secrets(settings), api_token), show_numbers=True, keeps_length=True)


def _secrets(settings: Settings) -> tuple[str, ...]:
    key = settings.access.api_key
    return (*settings.credentials.secrets, *(() if key is None else (key.strip(),)))


def warnings(settings: Settings) -> Iterator[str]:
    """What the person who starts the server should know about its doors, a sentence each."""
    server, signs = settings.server, bool(settings.credentials.twilio_auth_tokens)
    access = media_access(settings)
    if access is MediaAccess.OPEN:
        yield "server.media_access is open: whoever reaches this server can call it, without a token or a signature"
    if signs and server.public_url is None:
        yield "Twilio's webhooks are refused: set server.public_url (--public-url), over which their signatures are made"
    elif server.public_url is not None and not signs:
        yield "Twilio's webhooks are refused: set TWILIO_AUTH_TOKEN, which their signatures are made with (docs/twilio.md)"
    elif access is MediaAccess.GUARDED and not signs and server.public_url is None:
        yield "no carrier can call: set server.public_url and TWILIO_AUTH_TOKEN (docs/twilio.md); test calls fetch a call token"


@asynccontextmanager
async def carrier_hang_up(settings: Settings) -> AsyncIterator[HangUp | None]:
    """What ends calls at Twilio, for the time of the block; None without an account."""
    credentials = settings.credentials
    if credentials.twilio_account_sid is None or not credentials.twilio_auth_tokens:
        yield None
        return
    from trio_voice.server.twilio_rest import TwilioRest  # noqa: PLC0415 - its HTTP client takes 0.2 s to import

    async with TwilioRest.opened(
        credentials.twilio_account_sid, credentials.twilio_auth_tokens[0], settings.twilio.api_url
    ) as rest:
        yield rest.hang_up
