"""Twilio's webhooks. Source: Twilio's documentation of TwiML and Media Streams.

`POST /twilio/voice` answers a call with `<Connect><Stream>`, whose URL carries a call token. When the stream is over Twilio asks
`/twilio/after` what comes next: nothing for a call that had its stream, a sentence for one that could not be taken.
`/twilio/status` is told what became of streams and calls.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape, quoteattr

import structlog
from attrs import field, frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_voice.dialects.registry import MEDIA_PATH
from trio_voice.server.admission import Admission, EntryFault, MediaAccess, Refused
from trio_voice.server.clients import is_local
from trio_voice.server.directory import CallDirectory
from trio_voice.server.tokens import Issuer
from trio_voice.server.twilio_signature import HEADER
from trio_voice.storage.masking import mask_number
from trio_voice.web.bodies import read_body

log = structlog.get_logger(__name__)

FIELDS_LIMIT = 200
PARAMETER_LIMIT = 500
"""Name and value of a `<Parameter>` must be shorter than this together."""
SORRY = "We are sorry, this call cannot be answered now. Please call again later."
UNTRUSTED = (
    "this webhook cannot be trusted: set TWILIO_AUTH_TOKEN (from the Twilio console) and server.public_url "
    "(the https address that Twilio calls), and start the server anew"
)
_CALL_SID = re.compile(r"CA[0-9a-f]{32}")
_FORM = "application/x-www-form-urlencoded"

Form = Mapping[str, str]


@frozen(kw_only=True)
class TwilioWebhooks:
    """The endpoints."""

    admission: Admission
    directory: CallDirectory
    media_base: str
    """Where streams connect, scheme and host: wss://voice.example.com."""
    sorry: str = SORRY
    """What a caller hears whose call cannot be taken."""
    transfer_to: str | None = None
    """The telephone number that takes calls which failed; None: they are hung up."""
    failed: Container[str] = frozenset()
    """The ids of calls that ended with an apology."""
    path: str = field(default="/twilio")

    def routes(self) -> list[Route]:
        """What is served where."""
        return [
            Route(f"{self.path}/voice", self.voice, methods=["POST"]),
            Route(f"{self.path}/after", self.after, methods=["POST"]),
            Route(f"{self.path}/status", self.status, methods=["POST"]),
        ]

    async def voice(self, request: Request) -> Response:
        """A call comes in: connect it to a media stream, or let it hear that all lines are busy."""
        form = await self._form(request)
        call_sid = self._call_sid(form)
        if any(call.call_sid == call_sid for call in self.directory):
            raise _http(self.admission.refuse(EntryFault.REPEATED))
        has_place = self.admission.tokens.waits_for(call_sid)
        refused = self.admission.welcome(has_place=has_place)
        if refused is not None:
            log.warning("a call was refused", reason=refused.fault.value, call_sid=call_sid)
            return _twiml('<Reject reason="busy"/>')
        token = self.admission.tokens.issue(Issuer.WEBHOOK, call_sid)
        log.info("a call comes in", call_sid=call_sid, caller=mask_number(form.get("From", "")))
        return _twiml(self._connect(request, form, token))

    async def after(self, request: Request) -> Response:
        """The stream is over: hang up. A call that failed is transferred, or, if it never had a stream, hears a sentence."""
        form = await self._form(request)
        call_sid = self._call_sid(form)
        had_stream = self.admission.was_answered(call_sid, request.query_params.get("token", ""))
        if not had_stream:
            log.warning("a call had no stream", call_sid=call_sid)
        if self.transfer_to is not None and (not had_stream or call_sid in self.failed):
            log.warning("a call that failed is transferred", call_sid=call_sid, to=mask_number(self.transfer_to))
            return _twiml(self._instead)
        return _twiml("<Hangup/>" if had_stream else f"{self._instead}<Hangup/>")

    @property
    def _instead(self) -> str:
        """What a caller gets instead of a conversation."""
        return f"<Say>{escape(self.sorry)}</Say>" if self.transfer_to is None else f"<Dial>{escape(self.transfer_to)}</Dial>"

    async def status(self, request: Request) -> Response:
        """Something became of a stream or a call."""
        form = await self._form(request)
        call_sid = self._call_sid(form)
        if form.get("StreamEvent") == "stream-error":
            log.warning("the carrier reports a stream error", call_sid=call_sid, error=form.get("StreamError", "")[:500])
        elif event := form.get("StreamEvent") or form.get("CallStatus"):
            log.info("the carrier reports", call_sid=call_sid, status=event[:40])
        return Response(status_code=204)

    def _connect(self, request: Request, form: Form, token: str) -> str:
        wanted = [("from", form.get("From", "")), ("to", form.get("To", "")), *request.query_params.multi_items()]
        parameters = "".join(
            f"<Parameter name={quoteattr(name)} value={quoteattr(value)}/>"
            for name, value in dict(wanted).items()
            if name and value and len(name) + len(value) < PARAMETER_LIMIT and _is_xml(name + value)
        )
        url, callback = f"{self.media_base}{MEDIA_PATH}twilio/{token}", f"{self._public}{self.path}/status"
        stream = f"<Stream url={quoteattr(url)} statusCallback={quoteattr(callback)}>{parameters}</Stream>"
        # The verb behind it is for carriers with TwiML of their own that do not know `action`.
        return f"<Connect action={quoteattr(f'{self.path}/after?token={token}')}>{stream}</Connect>{self._instead}"

    @property
    def _public(self) -> str:
        return f"http{self.media_base.removeprefix('ws')}"

    async def _form(self, request: Request) -> Form:
        """Read a form that the carrier has signed. Raises HTTPException with a sentence that says what to do."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != _FORM:
            raise HTTPException(415, f"a webhook is a form: Content-Type: {_FORM}")
        if self.admission.proof.can_check and not request.headers.get(HEADER):
            raise self._unsigned(request, EntryFault.NO_SIGNATURE)  # whose body is not waited for
        body = await read_body(request)
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
        except ValueError:
            raise HTTPException(400, f"a webhook is a form of at most {FIELDS_LIMIT} fields, in UTF-8") from None
        self._check(request, pairs)
        return dict(pairs)

    def _check(self, request: Request, pairs: list[tuple[str, str]]) -> None:
        proof = self.admission.proof
        if not proof.can_check:
            is_trusted = self.admission.access is MediaAccess.LOCAL and is_local(_remote(request), request.headers)
            if not is_trusted and self.admission.access is not MediaAccess.OPEN:
                log.error("a webhook was refused", reason=UNTRUSTED)
                raise HTTPException(403, UNTRUSTED)
            self._count_stranger(request)
            return
        target = request.scope["raw_path"].decode("latin-1")
        if query := request.scope["query_string"]:
            target += f"?{query.decode('latin-1')}"
        fault = proof.fault(request.headers, target, form=pairs)
        if fault is not None:
            raise self._unsigned(request, fault)

    def _unsigned(self, request: Request, fault: EntryFault) -> HTTPException:
        self._count_stranger(request)
        refused = self.admission.refuse(fault)
        log.warning("a webhook was refused", reason=refused.text)
        return _http(refused)

    def _call_sid(self, form: Form) -> str:
        """The call's id. Names and values are signed without separators: only a strict form shows where the id ends."""
        call_sid = form.get("CallSid", "")
        if not call_sid or len(call_sid) > 256:
            raise HTTPException(400, "the form has no CallSid: this address is for the webhooks of Twilio's Programmable Voice")
        if self.admission.proof.can_check and not _CALL_SID.fullmatch(call_sid):
            raise HTTPException(400, "the CallSid is no call of Twilio's: those are CA and 32 hexadecimal digits")
        return call_sid

    def _count_stranger(self, request: Request) -> None:
        refused = self.admission.count_stranger(_remote(request), _headers(request))
        if refused is not None:
            raise _http(refused)


def _remote(request: Request) -> str:
    client = request.client
    if client is None:
        return "unknown"
    return f"[{client.host}]:{client.port}" if ":" in client.host else f"{client.host}:{client.port}"


def _headers(request: Request) -> Mapping[str, str]:
    """The headers as the front door reads them: of a repeated one all values, of which Starlette gives the first."""
    return {name: ", ".join(request.headers.getlist(name)) for name in request.headers}


def _is_xml(text: str) -> bool:
    """No XML document can hold control characters."""
    return all(
        character >= " " and not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff" for character in text
    )


def _http(refused: Refused) -> HTTPException:
    return HTTPException(refused.status, refused.text, {"Retry-After": "60"} if refused.fault is EntryFault.TOO_OFTEN else None)


def _twiml(verbs: str) -> Response:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{verbs}</Response>\n'
    return Response(document, media_type="text/xml", headers={"Cache-Control": "no-store"})
