"""Chat completions: `POST /v1/chat/completions`, answered by the script, at once or as a stream. Pure.

It stands in for a text model beside the voice: an agent that has a text judged or summed up then runs without a key. It calls no
tools. Where no `[[chat]]` rule fits, a JSON schema that is asked for gets an example of itself, and all else a sentence that says
so. Source: OpenAI API reference, chat completions.
"""

from __future__ import annotations

import fnmatch
import json
import random
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from attrs import define, field, frozen
from msgspec import Meta, Struct

from trio_voice.realtime_server.admission import Upgrade, key_is
from trio_voice.realtime_server.example_arguments import example
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.script import ChatError, ChatRule

CHAT_PATH = "/v1/chat/completions"
CHAT_BODY_BYTES = 4 * 1024 * 1024
MODELS = ("gpt-*", "chatgpt-*", "o[0-9]*")
_NO_CHAT_MODELS = ("gpt-realtime*", "gpt-audio-realtime*", "*-transcribe", "*-tts")
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_WORD = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+$")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_FLAGS = re.IGNORECASE | re.DOTALL
WORD_PAUSE_S = 0.01
"""Between the pieces of a stream."""


class TextPart(Struct):
    """A part of a message; what is no text (a picture, a recording) is not looked at."""

    type: str
    text: str = ""


class Message(Struct):
    """One message of the conversation."""

    role: str
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """All its text."""
        return self.content if isinstance(self.content, str) else " ".join(part.text for part in self.content or ())


class JsonSchema(Struct):
    """The schema that an answer has to fit."""

    name: str = "answer"
    schema: dict[str, Any] = {}


class ResponseFormat(Struct):
    """What an answer has to be: text, json_object, or json_schema."""

    type: str = "text"
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    """What a stream has besides the message."""

    include_usage: bool | None = None


class ChatRequest(Struct):
    """What we read of a request; other parameters are taken and change nothing."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: str | list[str] | None = None
    response_format: ResponseFormat | None = None


@frozen
class Reply:
    """An HTTP response: the head and the body's pieces, which are sent `pause_s` apart, the first after `delay_s`."""

    status: int
    pieces: tuple[bytes, ...]
    delay_s: float = 0.0
    pause_s: float = 0.0
    is_stream: bool = False

    @property
    def head(self) -> bytes:
        """The response's head. A stream has no length: the end of the connection is its end."""
        kind = "text/event-stream; charset=utf-8" if self.is_stream else "application/json"
        length = "" if self.is_stream else f"Content-Length: {sum(map(len, self.pieces))}\r\n"
        phrase = HTTPStatus(self.status).phrase if self.status in {each.value for each in HTTPStatus} else "Error"
        return f"HTTP/1.1 {self.status} {phrase}\r\nContent-Type: {kind}\r\n{length}Connection: close\r\n\r\n".encode("ascii")


class _Refused(Exception):  # noqa: N818 - a fact in the past tense
    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str = "") -> None:
        super().__init__(message)
        error = {"message": message, "type": kind or "invalid_request_error", "param": param, "code": code}
        self.reply = Reply(status, (_json({"error": error}),))


@frozen
class _Answer:
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    delay_s: float


@define
class ChatCompletions:
    """Answers requests; `api_key` is the one to expect (None: none is asked for)."""

    rules: list[ChatRule]
    api_key: str | None = None
    rng: random.Random = field(factory=random.Random)
    _used: dict[int, int] = field(factory=dict, init=False)

    def reply(self, method: str, upgrade: Upgrade, body: bytes, now: float) -> Reply:
        """Answer one request; `now` is the time of day in seconds since 1970."""
        try:
            self._check_access(method, upgrade)
            request = _read(body)
            answer = self._answer(request)
        except _Refused as refused:
            return refused.reply
        common = {"id": f"chatcmpl-{Identifiers(self.rng).padding(29)}", "created": int(now), "model": request.model}
        if request.stream:
            pieces = tuple(b"data: " + _json(chunk) + b"\n\n" for chunk in _chunks(request, answer, common))
            return Reply(200, (*pieces, b"data: [DONE]\n\n"), answer.delay_s, WORD_PAUSE_S, is_stream=True)
        return Reply(200, (_json(_completion(request, answer, common)),), answer.delay_s)

    def _check_access(self, method: str, upgrade: Upgrade) -> None:
        if self.api_key is not None and upgrade.api_key is None:
            raise _Refused(401, "You didn't provide an API key. Give it as Authorization: Bearer YOUR_KEY.")
        if self.api_key is not None and not key_is(upgrade, self.api_key):
            raise _Refused(401, "Incorrect API key provided.", code="invalid_api_key")
        if method != "POST":
            raise _Refused(405, "Only POST requests are accepted.", code="method_not_supported")

    def _answer(self, request: ChatRequest) -> _Answer:
        asked = next((each.text for each in reversed(request.messages) if each.role == "user"), "")
        system = "\n".join(each.text for each in request.messages if each.role in ("system", "developer"))
        text, delay_s = self._by_rule(asked, system) or (_unscripted(request, asked), 0.0)
        prompt_tokens = sum(len(_tokens(each.text)) + 4 for each in request.messages)
        text, finish_reason = _cut(text, request)
        return _Answer(text, finish_reason, prompt_tokens, len(_tokens(text)), delay_s)

    def _by_rule(self, asked: str, system: str) -> tuple[str, float] | None:
        for index, rule in enumerate(self.rules):
            used = self._used.get(index, 0)
            words = _matches(rule, asked, system)
            if words is None or (rule.times is not None and used >= rule.times):
                continue
            self._used[index] = used + 1
            if rule.error is not None:
                raise _scripted(rule.error)
            return _filled(rule.say, words), rule.delay_ms / 1000
        return None


def _scripted(error: ChatError) -> _Refused:
    return _Refused(error.status, error.message, code=error.code, kind=error.type)


def _read(body: bytes) -> ChatRequest:
    """Read a request's body; what is wrong with it is said in the service's words."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _Refused(400, f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(given, dict):
        raise _Refused(400, "We could not parse the JSON body of your request: it is no object.")
    if not given.get("model"):
        raise _Refused(400, "you must provide a model parameter")
    if given.get("messages") is None:
        raise _Refused(400, "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter")
    try:
        request = msgspec.convert(given, ChatRequest)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        param = place.strip("`").removeprefix("$.") or None
        raise _Refused(400, f"Invalid value for '{param}': {problem}.", param=param, code="invalid_value") from None
    _check(request)
    return request


def _check(request: ChatRequest) -> None:
    if any(fnmatch.fnmatchcase(request.model, pattern) for pattern in _NO_CHAT_MODELS):
        raise _Refused(404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint.", param="model")
    if not any(fnmatch.fnmatchcase(request.model, pattern) for pattern in MODELS):
        raise _Refused(
            404, f"The model `{request.model}` does not exist or you do not have access to it.", code="model_not_found"
        )
    for number, message in enumerate(request.messages):
        if message.role not in _ROLES:
            roles = ", ".join(f"'{role}'" for role in _ROLES[:-1])
            raise _Refused(
                400,
                f"Invalid value: '{message.role}'. Supported values are: {roles}, and '{_ROLES[-1]}'.",
                param=f"messages[{number}].role",
                code="invalid_value",
            )
    wanted = request.response_format.type if request.response_format is not None else "text"
    if wanted not in ("text", "json_object", "json_schema"):
        raise _Refused(400, f"Invalid value: '{wanted}'.", param="response_format.type", code="invalid_value")
    if wanted == "json_object" and not any("json" in each.text.lower() for each in request.messages):
        raise _Refused(
            400,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )


def _unscripted(request: ChatRequest, asked: str) -> str:
    """What is said where no rule fits: the format that was asked for, and no more than is known."""
    wanted = request.response_format or ResponseFormat()
    if wanted.type == "json_schema" and wanted.json_schema is not None:
        return json.dumps(example(wanted.json_schema.schema, wanted.json_schema.name))
    if wanted.type == "json_object":
        return json.dumps({"words": len(asked.split())})
    return f"This is a stand-in for a text model. You sent {len(asked.split())} words, and no rule of the script is about them."


def _matches(rule: ChatRule, asked: str, system: str) -> Mapping[str, str] | None:
    words = {"text": asked, "words": str(len(asked.split()))}
    for pattern, searched in ((rule.when.text, asked), (rule.when.system, system)):
        if pattern is None:
            continue
        found = re.search(pattern, searched, _FLAGS)
        if found is None:
            return None
        words.update({name: value or "" for name, value in found.groupdict().items()})
    return words


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), text)


def _tokens(text: str) -> list[str]:
    """Words stand for tokens, each with the space before it; joined they are the text."""
    return _WORD.findall(text)


def _cut(text: str, request: ChatRequest) -> tuple[str, str]:
    """End the text at a stop sequence or at the limit; returns it and why it ends."""
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    begins = [text.find(stop) for stop in stops if stop and stop in text]
    if begins:
        text = text[: min(begins)]
    limit = request.max_completion_tokens or request.max_tokens
    tokens = _tokens(text)
    if limit is not None and len(tokens) > limit:
        return "".join(tokens[:limit]), "length"
    return text, "stop"


def _usage(request: ChatRequest, answer: _Answer) -> dict[str, Any]:
    written = answer.completion_tokens * (request.n or 1)
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": answer.prompt_tokens + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _completion(request: ChatRequest, answer: _Answer, common: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    return {
        **common,
        "object": "chat.completion",
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
            for index in range(request.n or 1)
        ],
        "usage": _usage(request, answer),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chunks(request: ChatRequest, answer: _Answer, common: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a stream's chunks: the role, the words, the end, and the usage if it was asked for."""
    with_usage = request.stream_options is not None and bool(request.stream_options.include_usage)
    rest = {"object": "chat.completion.chunk", "service_tier": "default", "system_fingerprint": None}
    rest |= {"usage": None} if with_usage else {}
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": "", "refusal": None}, None)]
    deltas += [({"content": token}, None) for token in _tokens(answer.text)]
    deltas.append(({}, answer.finish_reason))
    for delta, finish_reason in deltas:
        for index in range(request.n or 1):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            yield {**common, **rest, "choices": [choice]}
    if with_usage:
        yield {**common, **rest, "choices": [], "usage": _usage(request, answer)}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
