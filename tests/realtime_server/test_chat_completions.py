"""Chat completions: the package's own types are the referee, and its own client, under Trio, the caller."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import trio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from trio_voice.realtime_server.admission import Upgrade
from trio_voice.realtime_server.chat_completions import CHAT_PATH, ChatCompletions, Reply
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.realtime_server.voice import VoiceSettings

SCRIPT = r"""
[[rule]]
say = "Hello."
[[chat]]
when = { text = "busy" }
error = { status = 429, type = "requests", code = "rate_limit_exceeded", message = "Rate limit reached." }
times = 1
[[chat]]
when = { system = "you assess (?P<what>\\w+)", text = "transcript:\\s*(?P<said>.+)" }
say = "Your {what} is good. You said {said} in {words} words, {braces}."
[[chat]]
when = { text = "slow" }
say = "There."
delay_ms = 1500
"""
USER = {"role": "user", "content": "Hello there, model."}
ASSESS = [
    {"role": "developer", "content": "You assess English."},
    {"role": "user", "content": [{"type": "text", "text": "Transcript: hi"}]},
]
completion: TypeAdapter[ChatCompletion] = TypeAdapter(ChatCompletion)
chunk: TypeAdapter[ChatCompletionChunk] = TypeAdapter(ChatCompletionChunk)


def model(api_key: str | None = None) -> ChatCompletions:
    return ChatCompletions(parse_script(SCRIPT, "test").chat, api_key, random.Random(1))


def ask(server: ChatCompletions | None = None, headers: dict[str, str] | None = None, method: str = "POST", **body: Any) -> Reply:
    request = {"model": "gpt-5-mini", "messages": [USER], **body}
    given = json.dumps({key: value for key, value in request.items() if value is not ...}).encode()
    return (server or model()).reply(method, Upgrade(CHAT_PATH, headers or {}), given, 1_800_000_000.5)


def body_of(reply: Reply) -> dict[str, Any]:
    (piece,) = reply.pieces
    assert f"Content-Length: {len(piece)}\r\n".encode() in reply.head
    body: dict[str, Any] = json.loads(piece)
    return body


def events_of(reply: Reply) -> list[ChatCompletionChunk]:
    assert b"Content-Type: text/event-stream" in reply.head
    assert b"Content-Length" not in reply.head
    *pieces, last = reply.pieces
    assert last == b"data: [DONE]\n\n"
    return [chunk.validate_json(piece.removeprefix(b"data: ").removesuffix(b"\n\n"), strict=True) for piece in pieces]


def text_of(reply: Reply) -> str:
    return completion.validate_python(body_of(reply)).choices[0].message.content or ""


# --- answers -----------------------------------------------------------------------------------------------------------


def test_a_scripted_answer_with_what_was_found_in_the_messages() -> None:
    reply = ask(messages=ASSESS)
    answered = completion.validate_json(reply.pieces[0], strict=True)
    assert answered.choices[0].message.content == "Your English is good. You said hi in 2 words, {braces}."
    assert (answered.choices[0].finish_reason, answered.created, answered.model) == ("stop", 1_800_000_000, "gpt-5-mini")
    assert answered.usage is not None
    assert (answered.usage.prompt_tokens, answered.usage.completion_tokens, answered.usage.total_tokens) == (13, 11, 24)
    assert reply.head.startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_no_rule_is_about_is_said_to_be_so() -> None:
    assert text_of(ask()) == "This is a stand-in for a text model. You sent 3 words, and no rule of the script is about them."


def test_a_slow_answer() -> None:
    assert ask(messages=[{"role": "user", "content": "slow"}]).delay_s == 1.5


@pytest.mark.parametrize("limit", [{"max_tokens": 2}, {"max_completion_tokens": 2}])
def test_a_limit_of_tokens_ends_the_answer(limit: dict[str, Any]) -> None:
    answered = completion.validate_python(body_of(ask(**limit)))
    assert (answered.choices[0].message.content, answered.choices[0].finish_reason) == ("This is", "length")


@pytest.mark.parametrize("stop", [" stand-in", ["never", " a text", " stand-in"]])
def test_a_stop_sequence_ends_the_answer(stop: object) -> None:
    assert text_of(ask(stop=stop)) == "This is a"


def test_several_choices() -> None:
    answered = completion.validate_python(body_of(ask(n=2, max_tokens=3)))
    assert [choice.index for choice in answered.choices] == [0, 1]
    assert answered.usage is not None
    assert answered.usage.completion_tokens == 6
    assert [one.choices[0].index for one in events_of(ask(n=2, max_tokens=1, stream=True))] == [0, 1, 0, 1, 0, 1]


def test_a_schema_gets_an_example_of_itself() -> None:
    schema = {
        "type": "object",
        "properties": {"level": {"enum": ["B1", "B2"]}, "score": {"type": "integer", "minimum": 3}},
        "required": ["level", "score"],
    }
    reply = ask(response_format={"type": "json_schema", "json_schema": {"name": "assessment", "schema": schema}})
    assert json.loads(text_of(reply)) == {"level": "B1", "score": 3}
    wants_json = [{"role": "user", "content": "Answer in JSON, please."}]
    assert json.loads(text_of(ask(messages=wants_json, response_format={"type": "json_object"}))) == {"words": 4}


def test_a_stream() -> None:
    chunks = events_of(ask(messages=ASSESS, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(one.choices[0].delta.content or "" for one in chunks)
    assert said == "Your English is good. You said hi in 2 words, {braces}."
    assert [one.choices[0].finish_reason for one in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({one.id for one in chunks}) == 1
    assert all(one.usage is None for one in chunks)


def test_a_stream_with_its_usage() -> None:
    *_, last = events_of(ask(stream=True, stream_options={"include_usage": True}))
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens


# --- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "param", "code", "begins"),
    [
        ({"model": ...}, 400, None, None, "you must provide a model parameter"),
        ({"messages": ...}, 400, "messages", "missing_required_parameter", "Missing required parameter: 'messages'."),
        ({"messages": []}, 400, "messages", "invalid_value", "Invalid value for 'messages'"),
        ({"messages": [{"role": "robot"}]}, 400, "messages[0].role", "invalid_value", "Invalid value: 'robot'. Supported values"),
        ({"n": 0}, 400, "n", "invalid_value", "Invalid value for 'n'"),
        ({"model": "whisper-9"}, 404, None, "model_not_found", "The model `whisper-9` does not exist"),
        ({"model": "gpt-realtime"}, 404, "model", None, "This is not a chat model"),
        ({"response_format": {"type": "xml"}}, 400, "response_format.type", "invalid_value", "Invalid value: 'xml'"),
        ({"response_format": {"type": "json_object"}}, 400, "messages", None, "'messages' must contain the word 'json'"),
    ],
)
def test_a_wrong_request_is_refused_as_the_service_does(
    change: dict[str, Any], status: int, param: str | None, code: str | None, begins: str
) -> None:
    reply = ask(**change)
    error = body_of(reply)["error"]
    assert (reply.status, error["type"], error["param"], error["code"]) == (status, "invalid_request_error", param, code)
    assert error["message"].startswith(begins)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    reply = model().reply("POST", Upgrade(CHAT_PATH, {}), body, 0.0)
    assert reply.status == 400
    assert body_of(reply)["error"]["message"].startswith("We could not parse the JSON body of your request")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, None),
        ({"authorization": "Bearer sk-other"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer sk-test"}, 200, None),
    ],
)
def test_the_key_that_is_expected(headers: dict[str, str], status: int, code: str | None) -> None:
    reply = ask(model("sk-test"), headers)
    assert reply.status == status
    assert "error" not in body_of(reply) or body_of(reply)["error"]["code"] == code


def test_only_post() -> None:
    reply = ask(method="GET")
    assert (reply.status, body_of(reply)["error"]["code"]) == (405, "method_not_supported")
    assert reply.head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


def test_a_scripted_error_wears_out() -> None:
    server = model()
    busy = [{"role": "user", "content": "Are you busy?"}]
    reply = ask(server, messages=busy)
    assert (reply.status, body_of(reply)["error"]["code"]) == (429, "rate_limit_exceeded")
    assert ask(server, messages=busy).status == 200


# --- the package's own client, under Trio ------------------------------------------------------------------------------


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[AsyncOpenAI]:
    """The embedded server, and a client of it."""
    async with trio.open_nursery() as nursery:
        settings = ModelServerSettings(
            script=parse_script(SCRIPT, "test"), api_key="sk-test", voice=VoiceSettings(engine="tones")
        )
        url: str = await nursery.start(lambda task_status: serve_model(settings, task_status=task_status))
        base_url = url.replace("ws://", "http://").removesuffix("/realtime")
        async with AsyncOpenAI(**{"base_url": base_url, "api_key": "sk-test", **options}) as it:
            yield it
        nursery.cancel_scope.cancel()


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the package leaves streams behind at [DONE]
async def test_the_official_client_asks_streams_retries_and_is_refused() -> None:
    messages: Any = ASSESS
    async with client() as it:
        answered = await it.chat.completions.create(model="gpt-5-mini", messages=messages)
        wanted = answered.choices[0].message.content
        assert wanted is not None
        assert wanted.startswith("Your English is good.")

        async with await it.chat.completions.create(model="gpt-5-mini", messages=messages, stream=True) as stream:
            assert "".join([one.choices[0].delta.content or "" async for one in stream]) == wanted

        busy = await it.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Busy?"}])
        assert busy.choices[0].message.content is not None  # it was refused once, and asked again

        with pytest.raises(openai.NotFoundError) as refused:
            await it.chat.completions.create(model="nobody", messages=messages)
        assert refused.value.code == "model_not_found"

        with pytest.raises(openai.AuthenticationError):
            await it.with_options(api_key="sk-other").chat.completions.create(model="gpt-5-mini", messages=messages)


async def test_a_client_that_gives_up_leaves_the_server_as_it_was() -> None:
    async with client(timeout=0.2, max_retries=0) as it:
        with pytest.raises(openai.APITimeoutError):
            await it.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "slow"}])
        assert (await it.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "x"}])).choices
