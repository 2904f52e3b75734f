from __future__ import annotations

import base64
from typing import Any

import pytest

from trio_voice.realtime_server import conversation as module
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.errors_on_the_wire import ClientError


def user(item_id: str) -> Item:
    return Item({"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": item_id}]})


def spoken(item_id: str, audio_ms: int = 1000) -> Item:
    body: dict[str, Any] = {"id": item_id, "type": "message", "role": "assistant"}
    body["content"] = [{"type": "output_audio", "transcript": "words"}]
    return Item(body, bytearray(audio_ms * 8), "g711_ulaw", audio_ms)


def with_items(*items: Item) -> Conversation:
    conversation = Conversation("conv_1")
    for item in items:
        conversation.add(item)
    return conversation


def test_items_are_inserted_where_they_are_wanted() -> None:
    conversation = with_items(user("a"))
    assert conversation.add(user("b"), "") == "a"
    assert conversation.add(user("c"), "root") is None
    assert conversation.add(user("d"), "c") == "c"
    assert [item.id for item in conversation.items] == ["c", "d", "a", "b"]
    assert conversation.last_id == "b"
    assert conversation.is_first("c")
    assert not conversation.is_first(None)
    with pytest.raises(ClientError) as caught:
        conversation.add(user("e"), "z")
    assert caught.value.code == "item_create_invalid_previous_item_id"


def test_of_two_items_with_one_id_the_newest_is_meant() -> None:
    first, second = user("a"), user("a")
    conversation = with_items(first, second)
    assert conversation.find("a") is second
    conversation.delete("a")
    assert conversation.find("a") is first


def test_truncation_checks_in_order_and_cuts() -> None:
    conversation = with_items(user("u"), spoken("s"))
    for item_id, audio_end_ms, code in (
        ("x", 0, "item_truncate_invalid_item_id"),
        ("u", 0, "unsupported_content_type"),
        ("s", 1001, "invalid_value"),
    ):
        with pytest.raises(ClientError) as caught:
            conversation.truncate(item_id, audio_end_ms, "invalid_value")
        assert caught.value.code == code
    conversation.truncate("s", 300, None)
    item = conversation.retrieve("s")
    assert (item.audio_ms, len(item.audio), item.text) == (300, 2400, "")
    with pytest.raises(ClientError, match="300ms is already shorter than 301ms"):
        conversation.truncate("s", 301, None)
    conversation.truncate("s", 0, None)
    conversation.truncate("s", 0, None)  # there is still an (empty) audio item
    assert not item.audio


def test_an_item_without_audio_yet_cannot_be_truncated() -> None:
    conversation = with_items(spoken("s", 0))
    with pytest.raises(ClientError) as caught:
        conversation.truncate("s", 0, None)
    assert caught.value.code == "unsupported_content_type"


def test_a_retrieved_item_has_its_audio() -> None:
    audio = base64.b64encode(bytes(8)).decode()
    part = spoken("s", 1).with_audio(typed=True)["content"][0]
    assert part == {"type": "output_audio", "transcript": "words", "audio": audio, "format": "g711_ulaw"}
    assert spoken("s", 1).with_audio(typed=False)["content"][0]["type"] == "audio"
    assert user("u").with_audio(typed=True) == user("u").body


def test_text_of_an_item() -> None:
    assert (user("hello").text, spoken("s").text) == ("hello", "words")
    assert Item({"id": "f", "type": "function_call"}).text == ""


def test_a_conversation_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ITEMS", 3)
    conversation = with_items(*(user(str(number)) for number in range(5)))
    assert [item.id for item in conversation.items] == ["2", "3", "4"]
    monkeypatch.setattr(module, "MOST_AUDIO_BYTES", 10_000)
    conversation = with_items(spoken("a"), spoken("b"))
    assert [len(item.audio) for item in conversation.items] == [0, 8000]
    assert [item.audio_ms for item in conversation.items] == [1000, 1000]
