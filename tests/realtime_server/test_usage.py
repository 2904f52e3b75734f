from __future__ import annotations

from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.usage import OutputTokens, input_tokens, text_tokens, usage


def test_tokens() -> None:
    assert [text_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
    heard = Item({"id": "u", "type": "message", "role": "user", "content": []}, audio_ms=2500)
    spoken = Item({"id": "a", "type": "message", "role": "assistant", "content": []}, audio_ms=2500)
    call = Item({"id": "f", "type": "function_call", "arguments": "x" * 8})
    output = Item({"id": "o", "type": "function_call_output", "output": "x" * 12})
    assert input_tokens("x" * 40, [heard, spoken, call, output]) == (10 + 2 + 3, 25 + 50)


def test_the_object() -> None:
    found = usage(14, 27, OutputTokens(28, 136))
    assert (found["total_tokens"], found["input_tokens"], found["output_tokens"]) == (205, 41, 164)
    assert found["output_token_details"] == {"text_tokens": 28, "audio_tokens": 136}
    assert found["input_token_details"]["cached_tokens_details"] == {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}
