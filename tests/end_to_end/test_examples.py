"""The examples as they are run: an agent's file, its script, a real call."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import open_websocket_url

from tests.agent.test_context import Asked
from tests.end_to_end.world import named, sentence, world
from trio_voice.agent.context import CallContext, ModelApi
from trio_voice.agent_file import load_agent
from trio_voice.audio.g711 import ULAW_SILENCE
from trio_voice.config import load_settings
from trio_voice.phone.caller import EndedBy
from trio_voice.phone.scenario import AfterAgent, HangUp, Say, Step
from trio_voice.plan import call_plan
from trio_voice.realtime.providers import http_api_url
from trio_voice.realtime_server.script import Script, parse_script, read_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.realtime_server.voice import VoiceSettings
from trio_voice.server.call_plan import CallPlan

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "agents.md"
Line = dict[str, Any]
EXPECTED = [
    "Good morning, the practice of Doctor Green. How can I help you?",
    "On Tuesday I have 10 o'clock. Shall I book that for you?",
    "You are booked for Tuesday at 10 o'clock. Is there anything else?",
    "That is a question for billing. I hand you over.",
    "This is billing. The reception has handed you over to me.",
    "Your invoice number 4711 of 80 euros is still open. Is there anything else?",
    "Thank you for calling. Goodbye!",
]
"""What reception and billing say."""


@pytest.fixture
def fast_clock() -> MockClock:
    return MockClock(rate=4.0)


def example(name: str) -> tuple[Script, Callable[[str], CallPlan]]:
    """An example's script and plan, as `make run EXAMPLE=...` has them."""
    loaded = load_agent(str(EXAMPLES / f"{name}.py"))
    assignments = ["model.transcription_model=gpt-4o-mini-transcribe"]
    settings = load_settings(environ={}, loaded=loaded, folder=EXAMPLES / "scripts", assignments=assignments)
    return read_script(EXAMPLES / "scripts" / f"{name}.toml"), lambda model_url: call_plan(settings, model_url, "test")


def words(lines: list[Line]) -> list[str]:
    """What the agent has said, reply by reply."""
    return [line["text"] for line in named(lines, "ModelTranscript") if line["final"]]


def sound(ulaw: bytes) -> bytes:
    """Audio without its digital silence, of which a slow machine puts some between two pieces."""
    return ulaw.replace(bytes([ULAW_SILENCE]), b"")


async def spoken(url: str, text: str, voice: str) -> bytes:
    """The model's own recording of a text in a voice, mu-law."""
    audio = bytearray()
    async with open_websocket_url(f"{url}?model=gpt-realtime-2.1") as socket:
        output = {"format": {"type": "audio/pcmu"}, "voice": voice}
        session = {"type": "realtime", "audio": {"output": output}}
        await socket.send_message(json.dumps({"type": "session.update", "session": session}))
        await socket.send_message(json.dumps({"type": "response.create", "response": {"instructions": f'Say: "{text}"'}}))
        while True:
            event = json.loads(await socket.get_message())
            assert event["type"] != "error", event
            if event["type"] == "response.output_audio.delta":
                audio += base64.b64decode(event["delta"])
            elif event["type"] == "response.done":
                return bytes(audio)


async def test_a_text_model_is_asked_as_the_page_of_agents_does() -> None:
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "AsyncOpenAI" in block
    ]
    names: dict[str, Any] = {}
    exec(block, names)
    script = parse_script('[[rule]]\nsay = "x"\n[[chat]]\nwhen = { text = "user: hello" }\nsay = "They said hello."', "test")
    async with trio.open_nursery() as nursery:
        model = ModelServerSettings(script=script, voice=VoiceSettings(engine="tones"))
        url = await nursery.start(lambda task_status: serve_model(model, task_status=task_status))
        call = CallContext(call_id="c", call_sid="s", api=ModelApi(base_url=http_api_url(url)), control=Asked())
        assert await names["summarise"](call) == "They said hello."
        nursery.cancel_scope.cancel()


async def test_the_receptionist_books_with_two_tools_and_hands_over_to_billing(fast_clock: MockClock, tmp_path: Path) -> None:
    script, make_plan = example("receptionist")
    steps: list[Step] = [Say(sentence(1.0, seed=number), AfterAgent(pause_s=1.0)) for number in range(3)]
    steps += [Say(sentence(1.0), AfterAgent(pause_s=4.0))] * 3  # the caller lets billing begin; the last are for slow machines
    async with world(tmp_path, script=script, make_plan=make_plan) as everything:
        call, ending = await everything.call([*steps, HangUp(AfterAgent(pause_s=10.0, limit_s=30.0))])
        lines = everything.journal()
    assert ending.by is EndedBy.SERVER
    tools = dict.fromkeys(line["name"] for line in named(lines, "RunTool"))  # a reply that is interrupted is made again
    assert list(tools) == ["free_hours", "book", "to_billing", "open_invoices", "hang_up"]
    said = words(lines)
    assert [each for each in EXPECTED if each not in said] == []
    assert [said.index(each) for each in EXPECTED] == sorted(said.index(each) for each in EXPECTED)
    assert not named(lines, "ModelErred")
    assert call.carrier.warnings == []


async def test_the_assessment_ends_with_its_whole_summary_in_the_english_voice(fast_clock: MockClock, tmp_path: Path) -> None:
    script, make_plan = example("language_assessment")
    summary = script.chat[0].say.replace("{level}", "A2")
    steps: list[Step] = [Say(sentence(1.0, seed=number), AfterAgent(pause_s=1.3)) for number in range(3)]
    async with world(tmp_path, script=script, make_plan=make_plan) as everything:
        call, ending = await everything.call([*steps, HangUp(AfterAgent(pause_s=5.0, limit_s=60.0))])
        lines = everything.journal()
        in_english = await spoken(everything.model_url, summary, "cedar")
        in_the_tutors_voice = await spoken(everything.model_url, summary, "marin")
    assert ending.by is EndedBy.CALLER
    assert words(lines)[-1] == summary
    assert len(named(lines, "FillerAsked")) >= 2  # every 3 s of the 8.5 that the text model takes
    assert "Un momento más, por favor." in words(lines)
    heard = sound(bytes(call.carrier.heard))
    assert len(in_english) > 8000 * 5
    assert heard.count(sound(in_english)) == 1  # every sample of it
    assert sound(in_the_tutors_voice) not in heard
    assert not named(lines, "ModelErred")
    assert not named(lines, "TruncateItem")
    assert call.carrier.warnings == []
