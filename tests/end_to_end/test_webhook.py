"""A call as Twilio places it, over real sockets: the signed webhook, the token, the signed stream, the hang-up by REST."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import h11
import pytest
import trio
from attrs import define, evolve, field
from trio.testing import MockClock

from tests.end_to_end.world import BRIEF, sentence
from trio_voice.agent.agent import Agent
from trio_voice.config import ModelAccess, Settings
from trio_voice.credentials import Credentials
from trio_voice.errors import UserError
from trio_voice.phone.caller import CallRefusedError, EndedBy, PhoneCall
from trio_voice.phone.carrier import Identity
from trio_voice.phone.feed import get
from trio_voice.phone.scenario import AfterAgent, HangUp, Say, Scenario, Step
from trio_voice.phone.webhook import Carrier
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.sections import ServerSettings, TwilioSettings
from trio_voice.serve import run_server

ACCOUNT = "AC" + "0" * 32
AUTH_TOKEN = "the-auth-token"
API_TOKEN = "the-api-token-of-this-test"
PUBLIC = "https://voice.example.com"


@pytest.fixture
def fast_clock() -> MockClock:
    return MockClock(rate=4.0)


@define
class Told:
    """The signals of a server: SIGTERM, when the test says so."""

    now: trio.Event = field(factory=trio.Event)
    sent: bool = False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if self.sent:
            await trio.sleep_forever()
        await self.now.wait()
        self.sent = True
        return signal.SIGTERM


@define
class Twilio:
    """Twilio's REST API: notes what it is asked for."""

    asked: list[str] = field(factory=list)

    async def answer(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while type(event := connection.next_event()) is not h11.EndOfMessage:
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                self.asked.append(f"{event.method.decode()} {event.target.decode()}")
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


@asynccontextmanager
async def server(calls_folder: Path, twilio: Twilio) -> AsyncIterator[str]:
    """A server of its own, with a model and a Twilio; its address on this machine."""
    async with trio.open_nursery() as nursery:
        model = ModelServerSettings(port=0, script=parse_script(BRIEF, "the test's script"), seed=1)
        model_url = await nursery.start(lambda task_status: serve_model(model, task_status=task_status))
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, twilio.answer, [listener])
        settings = Settings(
            server=ServerSettings(port=0, calls_folder=calls_folder, public_url=PUBLIC, api_token_file=None),
            twilio=TwilioSettings(account_sid=ACCOUNT, api_url=f"http://127.0.0.1:{listener.socket.getsockname()[1]}"),
            credentials=Credentials(twilio_account_sid=ACCOUNT, twilio_auth_tokens=(AUTH_TOKEN,), api_token=API_TOKEN),
            access=ModelAccess(base_url=model_url.removesuffix("/realtime")),
            agent=Agent(voice="marin"),
        )
        told, said = Told(), list[str]()

        async def serve() -> None:
            await run_server(settings, say=said.append, signals=told)

        async with trio.open_nursery() as running:
            running.start_soon(serve)
            with trio.fail_after(60):
                while not said:  # noqa: ASYNC110 - that is when it has printed its banner
                    await trio.sleep(0.05)
            yield json.loads(await trio.Path(calls_folder / "server.json").read_text())["url"]
            told.now.set()
        nursery.cancel_scope.cancel()


def caller_of(address: str, auth_token: str = AUTH_TOKEN) -> Carrier:
    identity = evolve(Identity.made_up(), account_sid=ACCOUNT)
    return Carrier(webhook_url=f"{PUBLIC}/twilio/voice?tenant=acme", via=address, auth_token=auth_token, identity=identity)


async def test_a_call_comes_in_as_twilio_places_it_and_is_ended_at_twilio_too(fast_clock: MockClock, tmp_path: Path) -> None:
    twilio = Twilio()
    async with server(tmp_path, twilio) as address:
        carrier = caller_of(address)
        stream = (await carrier.ring()).stream
        assert stream is not None
        assert stream.parameters == {"from": carrier.caller, "to": carrier.called, "tenant": "acme"}
        await carrier.report(stream, "stream-started")
        identity = evolve(carrier.identity, parameters=stream.parameters)
        steps: list[Step] = [Say(sentence()), Say(sentence()), Say(sentence()), HangUp(AfterAgent(pause_s=30.0, limit_s=60.0))]
        url, headers = carrier.media_url(stream), carrier.upgrade_headers(stream)
        async with PhoneCall.place(url, Scenario(steps), identity=identity, headers=headers) as call:
            ending = await call.finished()
        assert ending.by is EndedBy.SERVER
        assert call.carrier.warnings == []
        after = await carrier.after(stream, duration_s=call.carrier.heard_s)
        assert after.said == ["hangs up"]
        with pytest.raises(CallRefusedError, match=r"HTTP status 403 \(this call token was used before"):
            async with PhoneCall.place(url, Scenario([]), identity=identity, headers=headers):
                raise AssertionError
        metrics = await get_metrics(address)
    assert twilio.asked == [f"POST /2010-04-01/Accounts/{ACCOUNT}/Calls/{carrier.identity.call_sid}.json"]
    assert 'trio_voice_calls_total{dialect="twilio",ended_by="us"} 1.0' in metrics
    assert 'trio_voice_calls_refused_total{reason="used_token"} 1.0' in metrics


async def get_metrics(address: str) -> str:
    parts = urlsplit(address)
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    async with stream:
        head = f"GET /metrics HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {API_TOKEN}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode())
        return b"".join([bytes(piece) async for piece in stream]).decode()


async def test_r40_a_stranger_gets_neither_a_token_nor_a_stream(fast_clock: MockClock, tmp_path: Path) -> None:
    async with server(tmp_path, Twilio()) as address:
        with pytest.raises(UserError, match=r"HTTP status 403: the signature \(X-Twilio-Signature\) is wrong"):
            await caller_of(address, "another").ring()
        stream = (await caller_of(address).ring()).stream
        assert stream is not None
        stolen = caller_of(address)
        media = f"ws{address.removeprefix('http')}/media/twilio"
        for url, headers, says in [
            (media, [], "needs a call token in its path"),
            (f"{media}/made-up", [], "was not made by this server"),
            (stolen.media_url(stream), [], "X-Twilio-Signature.* is missing"),
            (stolen.media_url(stream), [(b"x-twilio-signature", b"AAAA")], "the signature .* is wrong"),
        ]:
            with pytest.raises(CallRefusedError, match=says) as refused:
                async with PhoneCall.place(url, Scenario([]), headers=headers):
                    raise AssertionError
            assert refused.value.status == 403
        with pytest.raises(CallRefusedError, match="403"):
            async with PhoneCall.place(media, Scenario([]), headers=[(b"origin", b"https://evil.example")]):
                raise AssertionError
        assert (await get(address, "/metrics")).status == 401
        assert (await get(address, "/api/v1/calls")).status == 401
    assert not journals(tmp_path)


def journals(folder: Path) -> list[Path]:
    return list(folder.glob("*/call.jsonl"))
