"""R40: known secrets, fed through every path by which a peer can say something, are in no log line, journal or answer."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from tests.server.rig import VOICE, Rig, no_page, threads_at_once
from tests.web.asgi_client import get
from tests.web.test_app import ABOUT
from trio_voice.agent.agent import Agent
from trio_voice.agent.tool import tool
from trio_voice.config import ModelAccess, Settings
from trio_voice.credentials import Credentials
from trio_voice.entrance import journal_redaction, log_redaction
from trio_voice.logs import TALKATIVE, set_up_logging
from trio_voice.sections import LogFormat, LogLevel
from trio_voice.server.answering import Answering
from trio_voice.server.front_door import FrontDoor, Limits
from trio_voice.server.pages import Pages
from trio_voice.server.websocket import client_websocket
from trio_voice.storage.journal_file import WRITE_EVERY_S
from trio_voice.storage.writing import writing
from trio_voice.web.app import Dependencies, create_app

MODEL_KEY = "sk-model-key-0123456789"
AUTH_TOKEN = "twilio-auth-token-0123456789"
API_TOKEN = "api-token-0123456789"
NUMBER = "+14158675310"
SECRETS = (MODEL_KEY, AUTH_TOKEN, API_TOKEN)
ALL = " ".join(SECRETS)
SETTINGS = Settings(
    access=ModelAccess(base_url="wss://model.example/v1", api_key=MODEL_KEY),
    credentials=Credentials(twilio_account_sid="AC1", twilio_auth_tokens=(AUTH_TOKEN,), api_token=API_TOKEN),
)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, as it leaves the process."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out = io.StringIO()
    set_up_logging(LogFormat.JSON, LogLevel.DEBUG, out, redact=log_redaction(SETTINGS))
    structlog.configure(cache_logger_on_first_use=False)  # else the modules' loggers would write here in other tests too
    yield out
    root.handlers = handlers
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


@tool
def look_up(question: str) -> str:
    """Look something up."""
    if "fail" in question:
        raise RuntimeError(f"no answer to {question}")
    return f"The answer to {question} is {ALL}"


async def live_a_call(world: Rig) -> None:
    """A call in which everybody says every secret wherever they may say something."""
    redact = journal_redaction(SETTINGS, API_TOKEN)
    answering = Answering(world.plan(), world.directory, world.calls_folder, world.journals, redact=redact)
    door = FrontDoor(answering, Pages.of(no_page), trio.Event(), frozenset({"twilio"}), Limits())
    near, far = trio.testing.memory_stream_pair()
    world.nursery.start_soon(door.answer, far)
    headers = {"Authorization": f"Bearer {API_TOKEN}", "X-Twilio-Signature": AUTH_TOKEN}
    async with client_websocket(near, "voice.example", "/media/twilio", headers) as socket:
        parameters = {"From": NUMBER, "note": ALL}
        body = {"callSid": "CA1", "streamSid": "MZ1", "customParameters": parameters}
        await socket.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": body}))
        model = await world.session(1)
        await socket.send(ALL)
        await socket.send(json.dumps({"event": ALL, "streamSid": "MZ1"}))
        await socket.send(json.dumps({"event": "mark", "streamSid": ALL, "mark": {"name": ALL}}))
        for _ in range(3):
            await socket.send(json.dumps({"event": "media", "streamSid": "MZ1", "media": {"payload": "/" * 216}}))
        await model.hear(f"u {ALL}")
        place = {"event_id": "e", "item_id": f"u {ALL}", "content_index": 0}
        await model.send(type="conversation.item.input_audio_transcription.completed", transcript=ALL, **place)
        await model.begin()
        output = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
        await model.send(type="response.output_audio_transcript.done", event_id="e", transcript=ALL, **output)
        await model.send(type="error", event_id="e", error={"type": "x", "code": MODEL_KEY, "message": ALL})
        for number, question in enumerate((ALL, f"fail {ALL}")):
            item = {"id": f"f{number}", "type": "function_call", "call_id": f"t{number}", "name": "look_up"}
            item |= {"arguments": json.dumps({"question": question}), "status": "completed"}
            await model.send(type="response.output_item.done", event_id="e", response_id="r1", output_index=number, item=item)
        await model.finish()
        await trio.sleep(1)
        live = world.directory.named("CA1")
        assert live is not None
        live.caller = NUMBER
        live.say(ALL)
        await answers_of_the_api(world)
        await model.socket.close(4000, API_TOKEN)
        await trio.sleep(1)
        await socket.close(4001, AUTH_TOKEN)
    await world.directory.wait_empty(60)


async def answers_of_the_api(world: Rig) -> None:
    """The API does not tell either, not even to those who have the token."""
    app = create_app(Dependencies(about=ABOUT, directory=world.directory, token=API_TOKEN, draining=trio.Event()))
    for path in ("/api/v1/calls", "/api/v1/calls/CA1", "/api/v1/server", "/metrics", "/", f"/api/v1/calls/{MODEL_KEY}"):
        for token in (API_TOKEN, "other"):
            answer = await get(app, path, {"Authorization": f"Bearer {token}"})
            told = answer.body.decode() + repr(answer.headers)
            asked_for = {MODEL_KEY} if path.endswith(MODEL_KEY) else set()  # who asks hears what was asked
            assert {secret for secret in SECRETS if secret in told} <= asked_for
            assert NUMBER not in told


def log_all_else() -> None:
    """What libraries, tracebacks and values of our own may say."""
    structlog.get_logger("test").warning("said", text=ALL, number=NUMBER)
    logging.getLogger("test").error(ALL, exc_info=RuntimeError(ALL))


def written(folder: Path) -> str:
    (journal,) = [path.read_text(encoding="utf-8") for path in folder.rglob("call.jsonl")]
    return journal


async def test_r40_no_secret_is_in_a_log_a_journal_or_an_answer(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, logged: io.StringIO
) -> None:
    with threads_at_once():
        async with writing(WRITE_EVERY_S) as journals, trio.open_nursery() as nursery:
            await live_a_call(Rig(tmp_path, nursery, [], journals, agent=Agent(instructions="Be brief.", tools=[look_up])))
    log_all_else()
    log = logged.getvalue()
    journal = written(tmp_path)
    # Every way was taken: else this test would prove nothing.
    for heard in ("CallerTranscribed", "ModelTranscript", "ModelErred", "RunTool", "ToolFinished", "TextInjected", "SessionLost"):
        assert heard in journal
    assert log.count("[redacted]") >= 6
    assert journal.count("*" * len(MODEL_KEY)) >= 6
    for secret in (*SECRETS, VOICE.hex()):
        assert secret not in log
        assert secret not in journal
    assert NUMBER not in log
    assert NUMBER not in journal
