from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from trio_voice.realtime_server.audio_formats import PCMU
from trio_voice.realtime_server.client_items import audio_bytes, new_item
from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.errors_on_the_wire import ClientError
from trio_voice.realtime_server.identifiers import Identifiers


def made(**given: Any) -> Item:
    return new_item("i", given, PCMU, Identifiers(random.Random(1)))


def test_audio_leaves_the_body_and_counts() -> None:
    audio = base64.b64encode(bytes(1600)).decode()
    item = made(type="message", role="user", content=[{"type": "input_audio", "audio": audio, "transcript": "hi"}])
    assert item.body == {
        "id": "i",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": "hi"}],
    }
    assert (bytes(item.audio), item.audio_ms, item.audio_format) == (bytes(1600), 200, "g711_ulaw")


def test_a_clients_assistant_audio_becomes_text() -> None:
    item = made(type="message", role="assistant", content=[{"type": "output_audio", "text": "words", "transcript": "no"}])
    assert item.body["content"] == [{"type": "output_text", "text": "words"}]
    assert item.audio_ms == 0


def test_calls_and_outputs() -> None:
    assert made(type="function_call", name="f", arguments="{}").body["call_id"].startswith("call_")
    output = made(type="function_call_output", call_id="c", output="x", object="realtime.item", status="completed")
    assert list(output.body) == ["id", "type", "call_id", "output"]


@pytest.mark.parametrize("text", ["AAA", "A===", "AA AA", "ä", "AAAA\n"])
def test_bad_base64_is_named(text: str) -> None:
    with pytest.raises(ClientError) as caught:
        audio_bytes(text, "audio")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "audio")
    with pytest.raises(ClientError) as caught:
        made(type="message", role="user", content=[{"type": "input_audio", "audio": text}])
    assert caught.value.param == "item.content[0].audio"
