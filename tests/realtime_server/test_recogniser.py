"""The recogniser's process is real in tests/end_to_end/test_recogniser.py; here a session lives without and with its words."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from tests.realtime_server.wire import Wire, caller_ulaw
from trio_voice.realtime_server import recogniser
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.events import Recognise
from trio_voice.realtime_server.recogniser import MOST_QUEUED, Recogniser
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import RECOGNITION_TIMEOUT_S, Session

SCRIPT = parse_script("[[rule]]\nwhen = { text = 'table' }\nsay = 'A table, yes.'\n[[rule]]\nsay = 'What did you say?'", "test")


def spoken_turn() -> tuple[Wire, Recognise]:
    """A turn whose words are being recognised."""
    wire = Wire(Session("gpt-realtime", ScriptedThinking(SCRIPT), Behaviour(), random.Random(1), recognises=True))
    wire.perform(wire.session.open(0.0, 0.0))
    update = {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1"}}
    wire.send("session.update", session={"type": "realtime", "audio": {"input": update}})
    wire.silence(0.5).hear(caller_ulaw()).silence(0.5)
    (asked,) = [output for output in wire.others if isinstance(output, Recognise)]
    return wire, asked


def said(wire: Wire) -> list[str]:
    events = wire.take()
    return [event["transcript"] for event in events if event["type"].endswith(("audio_transcript.done", "completed"))]


def test_the_answer_waits_for_the_words() -> None:
    wire, asked = spoken_turn()
    assert wire.types()[-1] == "response.created"
    assert len(asked.pcm16_8khz) > 2 * 2 * 8000
    wire.wait(1.0)
    assert wire.types() == []
    wire.perform(wire.session.recognised(asked.item_id, "a table for two", wire.now))
    assert sorted(said(wire.wait(9.0))) == ["A table, yes.", "a table for two"]


def test_without_words_in_time_it_answers_all_the_same() -> None:
    wire, asked = spoken_turn()
    wire.wait(RECOGNITION_TIMEOUT_S + 9.0)
    texts = said(wire)
    assert "What did you say?" in texts
    assert any(text.startswith("(The caller spoke for") for text in texts)
    wire.perform(wire.session.recognised(asked.item_id, "a table", wire.now))  # too late
    assert wire.types() == []


def test_a_cancel_while_the_words_are_awaited() -> None:
    wire, asked = spoken_turn()
    wire.send("response.cancel").wait(1.0)
    assert wire.types()[-1] == "response.done"
    wire.perform(wire.session.recognised(asked.item_id, "a table", wire.now))
    assert said(wire.wait(9.0)) == ["a table"]  # the transcript comes; the response is over


def test_a_turn_whose_words_come_after_the_next_turn_is_still_itself() -> None:
    script = "[[rule]]\nsay = 'Yes.'\n[[heard]]\nturn = 1\ntranscript = 'one'\n[[heard]]\nturn = 2\ntranscript = 'two'"
    thinking = ScriptedThinking(parse_script(script, "test"))
    wire = Wire(Session("gpt-realtime", thinking, Behaviour(), random.Random(1), recognises=True))
    wire.perform(wire.session.open(0.0, 0.0))
    audio_input = {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1"}, "turn_detection": None}
    wire.send("session.update", session={"type": "realtime", "audio": {"input": audio_input}})
    for _ in range(2):
        wire.append(caller_ulaw()).send("input_audio_buffer.commit")
    first, second = [output.item_id for output in wire.others if isinstance(output, Recognise)]
    for item_id in (second, first):  # neither could be told
        wire.perform(wire.session.recognised(item_id, "", wire.now))
    wire.wait(2.0)
    told = {event["item_id"]: event["transcript"] for event in wire.take() if event["type"].endswith("transcription.completed")}
    assert told == {first: "one", second: "two"}


async def test_a_full_queue_understands_nothing(autojump_clock: trio.testing.MockClock) -> None:
    queue_in, queue_out = trio.open_memory_channel[recogniser._Turn](MOST_QUEUED)
    asker = Recogniser(queue_in)
    async with trio.open_nursery() as nursery:
        for _ in range(MOST_QUEUED):
            nursery.start_soon(asker.recognise, b"")
        await trio.testing.wait_all_tasks_blocked()
        assert await asker.recognise(b"") == ""
        assert queue_out.statistics().current_buffer_used == MOST_QUEUED
        nursery.cancel_scope.cancel()


async def test_a_long_turn_is_cut_to_its_last_minute(autojump_clock: trio.testing.MockClock) -> None:
    queue_in, queue_out = trio.open_memory_channel[recogniser._Turn](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Recogniser(queue_in).recognise, bytes(100 * 16000))
        turn = await queue_out.receive()
        assert len(turn.pcm16_8khz) == 60 * 16000
        turn.done.set()


@pytest.mark.parametrize(("about", "expected"), [("speech", "A table, yes."), ("text", "A table, yes.")])
def test_scripted_words_are_heard_without_transcription(about: str, expected: str) -> None:
    script = parse_script(
        "[[rule]]\nwhen = { text = 'table' }\nsay = 'A table, yes.'\n[[rule]]\nsay = 'What?'\n"
        "[[heard]]\ntranscript = 'a table please'",
        "test",
    )
    wire = Wire(Session("gpt-realtime", ScriptedThinking(script), Behaviour(), random.Random(1)))
    wire.perform(wire.session.open(0.0, 0.0))
    wire.send("session.update", session={"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}})
    if about == "speech":
        wire.silence(0.5).hear(caller_ulaw()).silence(5.0)
    else:
        content = [{"type": "input_text", "text": "table"}]
        wire.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        wire.send("response.create").wait(5.0)
    assert said(wire) == [expected]
