"""Twilio's webhooks: what a call gets, and what bad requests get."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
import structlog
import trio
import trio.testing
from attrs import define, field
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tests.web.asgi_client import Answer, get
from trio_voice.server.admission import Admission, EntryFault, MediaAccess, Proof
from trio_voice.server.directory import CallDirectory, LiveCall
from trio_voice.server.failed_calls import FailedCalls
from trio_voice.server.rates import RateLimit
from trio_voice.server.tokens import Issuer
from trio_voice.server.twilio_signature import twilio_signature
from trio_voice.web.answers import error_answer
from trio_voice.web.twilio import UNTRUSTED, TwilioWebhooks

PUBLIC = "https://voice.example.com"
CA1, CA2 = f"CA{1:032x}", f"CA{2:032x}"
CALL = [("CallSid", CA1), ("AccountSid", "AC1"), ("From", "+14158675310"), ("To", "+18005551212"), ("CallerName", "")]
Pairs = Sequence[tuple[str, str]]


@define
class World:
    """Webhooks of a server whose signatures can be checked."""

    access: MediaAccess = MediaAccess.GUARDED
    auth_tokens: tuple[str, ...] = ("12345",)
    max_calls: int = 0
    per_minute: int = 0
    transfer_to: str | None = None
    failed: FailedCalls = field(factory=FailedCalls)
    directory: CallDirectory = field(factory=CallDirectory)
    admission: Admission = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(
            access=self.access,
            proof=Proof(PUBLIC, self.auth_tokens),
            max_calls=self.max_calls,
            rate=RateLimit(self.per_minute),
        )

    @property
    def app(self) -> Starlette:
        webhooks = TwilioWebhooks(
            admission=self.admission,
            directory=self.directory,
            media_base="wss://voice.example.com",
            transfer_to=self.transfer_to,
            failed=self.failed,
        )
        return Starlette(routes=webhooks.routes(), exception_handlers={HTTPException: error_answer})

    async def post(
        self,
        target: str = "/twilio/voice",
        pairs: Pairs = CALL,
        *,
        headers: Mapping[str, str] | None = None,
        client: str = "198.51.100.7",
    ) -> Answer:
        """Post a form as Twilio does, signed unless headers are given."""
        if headers is None:
            headers = {"X-Twilio-Signature": twilio_signature("12345", f"{PUBLIC}{target}", pairs)}
        form = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", **headers}
        return await get(self.app, target, form, "POST", urlencode(pairs).encode(), client)


def response(answer: Answer) -> ET.Element:
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    root = ET.fromstring(answer.body)
    assert root.tag == "Response"
    return root


# --- a call ------------------------------------------------------------------------------------------------------------


async def test_a_call_is_connected_to_a_stream_with_a_token_of_its_own() -> None:
    world = World()
    root = response(await world.post("/twilio/voice?tenant=a%26b"))
    connect, say = root
    (stream,) = connect
    assert (connect.tag, say.tag) == ("Connect", "Say")
    assert stream.get("statusCallback") == "https://voice.example.com/twilio/status"
    url = stream.get("url") or ""
    assert re.fullmatch(r"wss://voice\.example\.com/media/twilio/[\w-]{60}", url)
    assert {each.get("name"): each.get("value") for each in stream} == {
        "from": "+14158675310",
        "to": "+18005551212",
        "tenant": "a&b",
    }
    assert connect.get("action") == f"/twilio/after?token={url.rpartition('/')[2]}"
    ticket = world.admission.tokens.find(url.rpartition("/")[2])
    assert ticket.opens(CA1)
    assert not ticket.opens(CA2)


async def test_twilio_may_ask_twice_and_gets_the_same_answer() -> None:
    world = World(max_calls=1)
    first, second = await world.post(), await world.post()
    assert first.body == second.body
    assert world.admission.places_taken == 1


async def test_parameters_that_twilio_would_not_take_are_left_out() -> None:
    world = World()
    target = f"/twilio/voice?long={'a' * 496}&short={'a' * 494}&zero=%00&empty="
    (stream,) = response(await world.post(target))[0]
    assert [each.get("name") for each in stream] == ["from", "to", "short"]


async def test_r41_when_all_lines_are_busy_the_caller_hears_so() -> None:
    world = World(max_calls=1)
    await world.post()
    (reject,) = response(await world.post(pairs=[("CallSid", CA2)]))
    assert (reject.tag, reject.get("reason")) == ("Reject", "busy")
    assert world.admission.refusals == {EntryFault.BUSY: 1}


async def test_r41_a_server_that_drains_rejects() -> None:
    world = World()
    world.admission.draining.set()
    assert response(await world.post())[0].tag == "Reject"


async def test_after_its_stream_a_call_is_hung_up_and_one_that_had_none_hears_why() -> None:
    world = World()
    with structlog.testing.capture_logs() as logs:
        say, hang_up = response(await world.post("/twilio/after"))
        assert (say.tag, hang_up.tag) == ("Say", "Hangup")
        assert say.text == "We are sorry, this call cannot be answered now. Please call again later."
        world.admission.note_answered(CA1)
        assert [verb.tag for verb in response(await world.post("/twilio/after"))] == ["Hangup"]
    assert [line["event"] for line in logs] == ["a call had no stream"]


async def test_r26_a_call_that_failed_is_transferred_where_there_is_somebody() -> None:
    world = World(transfer_to="+4930123456")
    (dial,) = response(await world.post("/twilio/after"))
    assert (dial.tag, dial.text) == ("Dial", "+4930123456")
    world.admission.note_answered(CA1)
    assert [verb.tag for verb in response(await world.post("/twilio/after"))] == ["Hangup"]
    world.failed.note(CA1)
    assert [verb.tag for verb in response(await world.post("/twilio/after"))] == ["Dial"]


async def test_a_call_that_another_worker_answered_is_hung_up_too(tmp_path: Path) -> None:
    here, there = World(), World()
    for world in (here, there):
        world.admission.tokens.key, world.admission.tokens.used_folder = b"key", tmp_path
    token = here.admission.tokens.issue(Issuer.WEBHOOK, CA1)
    target = f"/twilio/after?token={token}"
    assert response(await here.post(target))[0].tag == "Say"
    there.admission.tokens.use(token)
    assert [verb.tag for verb in response(await here.post(target))] == ["Hangup"]
    # Where it was used, what became of the call is known better.
    assert response(await there.post(target))[0].tag == "Say"


@pytest.mark.parametrize(
    ("pairs", "logged"),
    [
        ([("StreamEvent", "stream-error"), ("StreamError", "31920 handshake")], ("warning", "31920 handshake")),
        ([("StreamEvent", "stream-started")], ("info", "stream-started")),
        ([("CallStatus", "completed")], ("info", "completed")),
        ([], None),
    ],
)
async def test_what_twilio_reports_is_logged(pairs: Pairs, logged: tuple[str, str] | None) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await World().post("/twilio/status", [("CallSid", CA1), *pairs])
    assert (answer.status, answer.body) == (204, b"")
    assert [(line["log_level"], line.get("error") or line.get("status")) for line in logs] == ([logged] if logged else [])


async def test_r40_a_number_is_logged_masked() -> None:
    with structlog.testing.capture_logs() as logs:
        await World().post()
    assert [(line["event"], line["caller"]) for line in logs] == [("a call comes in", "…5310")]
    assert "4158675310" not in repr(logs)


# --- bad requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/after", "/twilio/status"])
@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "the carrier's signature (X-Twilio-Signature) is missing"),
        ({"X-Twilio-Signature": ""}, "the carrier's signature (X-Twilio-Signature) is missing"),
        (
            {"X-Twilio-Signature": "L/OH5YylLD5NRKLltdqwSvS0BnU="},
            "the signature (X-Twilio-Signature) is wrong: check that server.public_url is exactly the address",
        ),
    ],
)
async def test_r40_unsigned_and_wrongly_signed_webhooks_are_refused(path: str, headers: dict[str, str], says: str) -> None:
    world = World(MediaAccess.OPEN)  # what is signed somewhere is checked everywhere
    answer = await world.post(path, headers=headers)
    assert answer.status == 403
    assert answer.body.decode().startswith(says)
    assert world.admission.places_taken == 0


async def test_r40_the_body_of_an_unsigned_webhook_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    answer = await get(World().app, "/twilio/voice", {"Content-Type": "application/x-www-form-urlencoded"}, "POST", None)
    assert (answer.status, trio.current_time()) == (403, began)


@pytest.mark.parametrize("change", ["path", "query", "value", "more"])
async def test_r40_whatever_is_changed_on_the_way_is_noticed(change: str) -> None:
    signature = {"X-Twilio-Signature": twilio_signature("12345", f"{PUBLIC}/twilio/voice?a=1", CALL)}
    target = {"path": "/twilio/after?a=1", "query": "/twilio/voice?a=2"}.get(change, "/twilio/voice?a=1")
    pairs = {"value": [("CallSid", CA2), *CALL[1:]], "more": [*CALL, ("X", "")]}.get(change, CALL)
    world = World()
    assert (await world.post("/twilio/voice?a=1", headers=signature)).status == 200
    assert (await world.post(target, pairs, headers=signature)).status == 403


async def test_r40_a_webhook_that_is_replayed_during_its_call_is_refused() -> None:
    world = World()
    with world.directory.registered(LiveCall("c1", CA1, datetime(2026, 11, 21, tzinfo=UTC), Path("c1"))):
        answer = await world.post()
    assert (answer.status, answer.body) == (409, b"this call's webhook was answered before, and the call is in progress\n")
    assert (await world.post()).status == 200


async def test_r40_without_a_secret_only_this_machine_is_trusted() -> None:
    here = {"host": "127.0.0.1:8080"}
    local = World(MediaAccess.LOCAL, auth_tokens=())
    assert (await local.post(headers=here, client="127.0.0.1")).status == 200
    for world, headers, client in [
        (local, {"host": "abc.ngrok.example"}, "127.0.0.1"),
        (local, {"host": "["}, "127.0.0.1"),
        (local, here, "198.51.100.7"),
        (World(MediaAccess.GUARDED, auth_tokens=()), here, "127.0.0.1"),
    ]:
        answer = await world.post(headers=headers, client=client)
        assert (answer.status, answer.body.decode()) == (403, f"{UNTRUSTED}\n")
    assert (await World(MediaAccess.OPEN, auth_tokens=()).post(headers={})).status == 200


async def test_r40_a_stranger_tries_only_so_often(autojump_clock: trio.testing.MockClock) -> None:
    for world, headers, first in [
        (World(per_minute=1), {"X-Twilio-Signature": "wrong"}, 403),
        (World(MediaAccess.OPEN, auth_tokens=(), per_minute=1), {}, 200),
    ]:
        assert (await world.post(headers=headers)).status == first
        answer = await world.post(pairs=[("CallSid", CA2)], headers=headers)
        assert (answer.status, answer.headers["retry-after"]) == (429, "60")


async def test_r40_a_stranger_who_names_another_address_first_is_counted_by_the_proxys(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world, wrong = World(per_minute=1), {"X-Twilio-Signature": "wrong"}
    # The test's client sends both names in lower case: two lines, the stranger's and the proxy's.
    tries = [{**wrong, "X-Forwarded-For": f"203.0.113.{number}", "x-forwarded-for": "198.51.100.7"} for number in range(2)]
    assert [(await world.post(headers=headers, client="127.0.0.1")).status for headers in tries] == [403, 429]


async def test_a_carrier_that_signs_calls_as_often_as_there_are_places(autojump_clock: trio.testing.MockClock) -> None:
    world = World(per_minute=1)
    assert [(await world.post(pairs=[("CallSid", f"CA{number:032x}")])).status for number in range(9)] == [200] * 9


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({}, b"CallSid=CA1", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=" + b"x" * 65_536, 413),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"&".join([b"a=1"] * 201), 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"CallSid=\xff", 400),
    ],
)
async def test_r40_what_is_no_form_or_too_large_is_refused(headers: dict[str, str], body: bytes, status: int) -> None:
    answer = await get(World().app, "/twilio/voice", {"X-Twilio-Signature": "any", **headers}, "POST", body)
    assert answer.status == status
    assert len(answer.body) > 20


@pytest.mark.parametrize("call_sid", ["", "C" * 257])
async def test_a_form_without_a_call_is_refused(call_sid: str) -> None:
    answer = await World().post(pairs=[("CallSid", call_sid)])
    assert (answer.status, b"the form has no CallSid" in answer.body) == (400, True)


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/after", "/twilio/status"])
@pytest.mark.parametrize("call_sid", ["CA1", f"{CA1}0", f"{CA1}\n", f"CA{'A' * 32}", f"{CA1}CallStatusringing"])
async def test_r40_a_signed_form_that_was_cut_anew_names_no_call(path: str, call_sid: str) -> None:
    world = World()
    answer = await world.post(path, [("CallSid", call_sid)])
    assert (answer.status, b"the CallSid is no call of Twilio's" in answer.body) == (400, True)
    assert world.admission.places_taken == 0
    # Where nothing is signed, carriers with TwiML of their own have ids of another shape.
    unsigned = World(MediaAccess.OPEN, auth_tokens=())
    assert (await unsigned.post(path, [("CallSid", call_sid)], headers={})).status in (200, 204)


async def test_a_webhook_is_posted() -> None:
    assert (await get(World().app, "/twilio/voice")).status == 405


# --- whatever comes ----------------------------------------------------------------------------------------------------


@given(
    st.binary(max_size=200) | st.text(max_size=60).map(lambda text: urlencode([("CallSid", text)]).encode()), st.text(max_size=40)
)
def test_r40_no_request_makes_the_server_fail(body: bytes, signature: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature.encode("utf-8").hex()}
    for world in (World(), World(MediaAccess.OPEN, auth_tokens=())):
        for path in ("/twilio/voice?a=%ff", "/twilio/after", "/twilio/status"):
            answer = trio.run(get, world.app, path, headers, "POST", body)
            assert answer.status in (200, 204, 400, 403)


@settings(max_examples=50)
@given(st.text(max_size=60), st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_r40_no_caller_writes_twiml_of_their_own(caller: str, value: str, name: str) -> None:
    assume(name not in ("from", "to"))
    world = World(MediaAccess.OPEN, auth_tokens=())
    target = f"/twilio/voice?{urlencode([(name, value)])}"
    form = urlencode([("CallSid", CA1), ("From", caller)]).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    root = response(trio.run(get, world.app, target, headers, "POST", form))
    assert [verb.tag for verb in root] == ["Connect", "Say"]
    (stream,) = root[0]
    told = {each.get("name"): each.get("value") for each in stream}
    allowed = {"from": caller, name: value}
    assert {told_name: allowed[told_name or ""] for told_name in told} == told
