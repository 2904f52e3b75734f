"""The carrier's side of a call: signatures, TwiML, and what Twilio would not take."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import pytest
import trio
from attrs import define, field
from trio.testing import memory_stream_pair

from trio_voice.errors import UserError
from trio_voice.phone.carrier import Identity
from trio_voice.phone.webhook import Carrier, Stream, Twiml, read_twiml, sign

BASE = "https://voice.example.com/twilio/voice"
CONNECT = b"""<?xml version="1.0" encoding="UTF-8"?>
<Response><Say>Hello</Say><Connect action="/twilio/after"><Stream url="wss://voice.example.com/media/twilio/abc"
statusCallback="https://voice.example.com/twilio/status"><Parameter name="tenant" value="a&amp;b"/></Stream></Connect>
<Say>Sorry</Say></Response>"""
STREAM = Stream(
    "wss://voice.example.com/media/twilio/abc",
    {"tenant": "a&b"},
    "https://voice.example.com/twilio/after",
    "https://voice.example.com/twilio/status",
)


def test_r40_it_signs_as_twilio_does() -> None:
    form = {"CallSid": "CA1234567890ABCDE", "Digits": "1234", "To": "+18005551212"}
    form |= {"Caller": "+14158675309", "From": "+14158675309"}
    assert sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert sign("12345", "wss://example.com/media/abc") == "pLFqhFuBwdcO0x1rgZAXZHSigWQ="


def test_a_document_is_followed_up_to_its_stream() -> None:
    assert read_twiml(CONNECT, BASE) == Twiml(["says: Hello"], STREAM)


@pytest.mark.parametrize(
    ("verbs", "said"),
    [
        ('<Reject reason="busy"/>', ["rejects the call (busy)"]),
        ("<Reject/>", ["rejects the call (rejected)"]),
        ("<Say>Sorry</Say><Hangup/><Say>never</Say>", ["says: Sorry", "hangs up"]),
        ("", []),
    ],
)
def test_a_document_without_a_stream_is_told_in_words(verbs: str, said: list[str]) -> None:
    assert read_twiml(f"<Response>{verbs}</Response>".encode(), BASE) == Twiml(said)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("nonsense", "the webhook's answer is no XML"),
        ("<html/>", "its root is <html>, not <Response>"),
        ("<Response><Dial>1</Dial></Response>", "answers with <Dial>, which this telephone does not know"),
        ("<Response><Connect/></Response>", "a <Connect> that has no <Stream url=...>"),
        ('<Response><Connect><Stream url="https://a/b"/></Connect></Response>', "Twilio connects only to wss://"),
        ('<Response><Connect><Stream url="wss://a/b?c=d"/></Connect></Response>', "without a query"),
        (
            f'<Response><Connect><Stream url="wss://a/b"><Parameter name="n" value="{"x" * 499}"/></Stream></Connect></Response>',
            "under 500 characters",
        ),
    ],
)
def test_what_twilio_would_not_take_is_said(document: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read_twiml(document.encode(), BASE)
    assert says in str(caught.value)


@define
class WebServer:
    """Answers one request after the other, and keeps them."""

    answers: list[tuple[int, bytes]]
    nursery: trio.Nursery
    asked: list[tuple[str, int, bytes]] = field(factory=list)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, host, port, theirs)
        return ours

    async def _serve(self, host: str, port: int, stream: trio.abc.Stream) -> None:
        self.asked.append((host, port, bytes(await stream.receive_some())))
        status, body = self.answers.pop(0)
        await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Callable[..., WebServer]:
    def answering(*answers: tuple[int, bytes]) -> WebServer:
        server = WebServer(list(answers), nursery)
        monkeypatch.setattr(trio, "open_tcp_stream", server.connect)
        return server

    return answering


def carrier(via: str | None = "http://127.0.0.1:8080", auth_token: str | None = "12345") -> Carrier:
    return Carrier(webhook_url=BASE, via=via, auth_token=auth_token, identity=Identity("AC1", "CA1", "MZ1"))


async def test_a_call_rings_by_its_signed_webhook(web: Callable[..., WebServer]) -> None:
    server = web((200, CONNECT))
    assert (await carrier().ring()).stream == STREAM
    ((host, port, request),) = server.asked
    assert (host, port) == ("127.0.0.1", 8080)
    head, _, body = request.partition(b"\r\n\r\n")
    form = {name: value for name, (value,) in parse_qs(body.decode(), keep_blank_values=True).items()}
    assert (form["CallSid"], form["AccountSid"], form["CallStatus"]) == ("CA1", "AC1", "ringing")
    assert head.startswith(b"POST /twilio/voice HTTP/1.1\r\n")
    assert f"X-Twilio-Signature: {sign('12345', BASE, form)}".lower().encode() in head.lower()


async def test_what_comes_after_is_asked_and_what_happened_is_reported(web: Callable[..., WebServer]) -> None:
    server = web((204, b""), (200, b"<Response><Hangup/></Response>"))
    await carrier().report(STREAM, "stream-stopped")
    assert (await carrier().after(STREAM, duration_s=12.4)).said == ["hangs up"]
    assert (await carrier().after(Stream("wss://a/b", {}), duration_s=1.0)).said == ["hangs up"]
    assert b"StreamEvent=stream-stopped" in server.asked[0][2]
    assert b"Duration=12" in server.asked[1][2]


async def test_a_refusal_is_the_users_to_know(web: Callable[..., WebServer]) -> None:
    web((403, b"the signature is missing\n"), (500, b""))
    with pytest.raises(UserError, match="HTTP status 403: the signature is missing; without TWILIO_AUTH_TOKEN"):
        await carrier(auth_token=None).ring()
    with pytest.raises(UserError, match="HTTP status 500: nothing"):
        await carrier().ring()


def test_the_stream_is_signed_as_it_is_written_and_reached_where_one_says() -> None:
    assert carrier().media_url(STREAM) == "ws://127.0.0.1:8080/media/twilio/abc"
    assert carrier(via="https://a.example").media_url(STREAM) == "wss://a.example/media/twilio/abc"
    assert carrier(via=None).media_url(STREAM) == STREAM.url
    assert carrier().upgrade_headers(STREAM) == [(b"x-twilio-signature", sign("12345", STREAM.url).encode())]
    assert carrier(auth_token=None).upgrade_headers(STREAM) == []
    assert "12345" not in repr(carrier())


@pytest.mark.parametrize(("webhook", "via"), [("voice.example.com", None), ("ftp://a/b", None), (BASE, "localhost:80")])
def test_an_address_must_be_one(webhook: str, via: str | None) -> None:
    with pytest.raises(UserError, match="not a URL; give one like"):
        Carrier(webhook_url=webhook, via=via)
