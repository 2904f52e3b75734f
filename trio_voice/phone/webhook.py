"""What happens at a carrier before and after a stream: the webhook is signed and posted, and the TwiML in its answer is followed.

Written against Twilio's documentation of webhooks and TwiML, and not against our server, which it is the test of.
"""

from __future__ import annotations

import hmac
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

from attrs import field, frozen

from trio_voice.errors import UserError
from trio_voice.phone.carrier import Identity
from trio_voice.phone.feed import UnreachableError, post

SIGNATURE: Final = "X-Twilio-Signature"
NO_SIGNING_KEY: Final = "without TWILIO_AUTH_TOKEN in the environment the webhook is not signed"
_TEXT_SHOWN = 300
_FORM_TYPE = "application/x-www-form-urlencoded; charset=UTF-8"


def sign(auth_token: str, url: str, form: Mapping[str, str] | None = None) -> str:
    """Sign a request as Twilio does: the URL, and each field of the form in the order of the names, under HMAC-SHA1."""
    text = url + "".join(name + value for name, value in sorted((form or {}).items()))
    return b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1")).decode()


@frozen
class Stream:
    """`<Connect><Stream>`: where the media goes, what is attached to it, and whom to ask afterwards."""

    url: str
    parameters: Mapping[str, str]
    action: str | None = None
    status_callback: str | None = None


@frozen
class Twiml:
    """A document, as far as a call needs it: what is said before anything else, and the stream, if there is one."""

    said: Sequence[str]
    """What the carrier tells the caller, in words: `<Say>`, `<Reject>`, `<Hangup>`."""
    stream: Stream | None = None


def read_twiml(text: bytes, base_url: str) -> Twiml:
    """Read a document up to its stream or its end. Raises UserError with what Twilio would not take."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat bounds what entities can grow to, and fetches nothing
    except ET.ParseError as error:
        raise UserError(f"the webhook's answer is no XML ({error}): {_shown(text)}") from None
    if root.tag != "Response":
        raise UserError(f"the webhook's answer is no TwiML: its root is <{root.tag}>, not <Response>")
    said: list[str] = []
    for verb in root:
        match verb.tag:
            case "Say":
                said.append(f"says: {verb.text or ''}")
            case "Reject":
                said.append(f"rejects the call ({verb.get('reason', 'rejected')})")
                break
            case "Hangup":
                said.append("hangs up")
                break
            case "Connect":
                return Twiml(said, _read_stream(verb, base_url))
            case other:
                raise UserError(f"the webhook answers with <{other}>, which this telephone does not know")
    return Twiml(said)


def _read_stream(connect: ET.Element, base_url: str) -> Stream:
    stream = connect.find("Stream")
    url = "" if stream is None else stream.get("url", "")
    if stream is None or not url:
        raise UserError("the webhook answers with a <Connect> that has no <Stream url=...>")
    if urlsplit(url).scheme not in {"wss", "ws"} or urlsplit(url).query:
        raise UserError(f"Twilio connects only to wss:// without a query: {_shown(url.encode())}")
    parameters = {}
    for each in stream.findall("Parameter"):
        name, value = each.get("name", ""), each.get("value", "")
        if not name or len(name) + len(value) >= 500:
            raise UserError(
                f"Twilio takes no <Parameter> {name[:40]!r}: a name is needed, and with its value under 500 characters"
            )
        parameters[name] = value
    action, callback = connect.get("action"), stream.get("statusCallback")
    return Stream(
        url, parameters, urljoin(base_url, action) if action else None, urljoin(base_url, callback) if callback else None
    )


@frozen(kw_only=True)
class Carrier:
    """A carrier's side of one call: who calls whom, and the webhook that its number has."""

    webhook_url: str
    """As it is configured at the carrier: signatures are made over it."""
    via: str | None = None
    """Connect to this address instead, for instance http://127.0.0.1:8080; None: to the webhook's own."""
    auth_token: str | None = field(default=None, repr=False)
    identity: Identity = field(factory=Identity.made_up)
    caller: str = "+15005550006"
    called: str = "+15005550001"

    def __attrs_post_init__(self) -> None:
        for name, url in (("--webhook", self.webhook_url), ("--via", self.via)):
            if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
                raise UserError(f"{name} {url}: not a URL; give one like https://voice.example.com/twilio/voice")

    async def ring(self) -> Twiml:
        """Post the webhook of a call that comes in. Raises UserError when it cannot be had, or is refused."""
        return await self._ask(self.webhook_url, {"CallStatus": "ringing", "Direction": "inbound", "ApiVersion": "2010-04-01"})

    async def after(self, stream: Stream, *, duration_s: float) -> Twiml:
        """Ask what comes after the stream; without an `action` nothing does."""
        if stream.action is None:
            return Twiml(["hangs up"])
        more = {"CallStatus": "in-progress", "StreamSid": self.identity.stream_sid, "Duration": str(round(duration_s))}
        return await self._ask(stream.action, more)

    async def report(self, stream: Stream, event: str) -> None:
        """Tell the status callback what became of the stream. Raises UserError."""
        if stream.status_callback is not None:
            await self._post(stream.status_callback, {"StreamSid": self.identity.stream_sid, "StreamEvent": event})

    def media_url(self, stream: Stream) -> str:
        """Return the address to connect the stream to."""
        if self.via is None:
            return stream.url
        via, parts = urlsplit(self.via), urlsplit(stream.url)
        return parts._replace(scheme=f"ws{via.scheme.removeprefix('http')}", netloc=via.netloc).geturl()

    def upgrade_headers(self, stream: Stream) -> list[tuple[bytes, bytes]]:
        """Return what the stream's upgrade is signed with: over its URL as it is written in the TwiML."""
        if self.auth_token is None:
            return []
        return [(SIGNATURE.lower().encode(), sign(self.auth_token, stream.url).encode())]

    async def _ask(self, url: str, more: Mapping[str, str]) -> Twiml:
        return read_twiml(await self._post(url, more), url)

    async def _post(self, url: str, more: Mapping[str, str]) -> bytes:
        who = self.identity
        form = {"CallSid": who.call_sid, "AccountSid": who.account_sid, "From": self.caller, "To": self.called, **more}
        headers = {"Content-Type": _FORM_TYPE, "User-Agent": "TwilioProxy/1.1"}
        if self.auth_token is not None:
            headers[SIGNATURE] = sign(self.auth_token, url, form)
        parts = urlsplit(url)
        address = self.via or f"{parts.scheme}://{parts.netloc}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = await post(address, target, urlencode(form).encode(), headers)
        except UnreachableError as error:
            raise UserError(f"the webhook {url} cannot be had: {error}") from None
        if not 200 <= answer.status < 300:
            hint = "" if self.auth_token is not None or answer.status != 403 else f"; {NO_SIGNING_KEY}"
            raise UserError(f"the webhook {url} answered with HTTP status {answer.status}: {_shown(answer.body)}{hint}")
        return answer.body


def _shown(text: bytes) -> str:
    return " ".join(text[:_TEXT_SHOWN].decode("utf-8", "replace").split()) or "nothing"
