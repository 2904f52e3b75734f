from __future__ import annotations

from collections.abc import Sequence

import pytest

from trio_voice.realtime_server.admission import (
    DEFAULT_MODELS,
    Admitted,
    Upgrade,
    admit,
    chosen_subprotocol,
    key_is,
)
from trio_voice.realtime_server.errors_on_the_wire import Refusal

TARGET = "/v1/realtime?model=gpt-realtime-2.1"
BEARER = {"authorization": "Bearer sk-1"}


def decide(
    target: str = TARGET, headers: dict[str, str] | None = None, protocols: Sequence[str] = (), key: str | None = "sk-1"
) -> Admitted | Refusal:
    return admit(Upgrade(target, BEARER if headers is None else headers, protocols), key, DEFAULT_MODELS)


def code_of(found: Admitted | Refusal) -> tuple[int, str | None]:
    assert isinstance(found, Refusal)
    return found.close_code, found.error.code


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [
        (BEARER, ()),
        ({"authorization": "bearer  sk-1"}, ()),
        ({"authorization": "Basic sk-1"}, ()),
        ({"api-key": "sk-1"}, ()),
        ({}, ("realtime", "openai-insecure-api-key.sk-1")),
    ],
)
def test_ways_to_give_the_key(headers: dict[str, str], protocols: Sequence[str]) -> None:
    assert decide(headers=headers, protocols=protocols) == Admitted("gpt-realtime-2.1")
    assert key_is(Upgrade(TARGET, headers, protocols), "sk-1")
    assert not key_is(Upgrade(TARGET, headers, protocols), "sk-2")


def test_the_key_is_checked_first() -> None:
    assert code_of(decide("/v1/realtime", {})) == (3000, None)
    assert code_of(decide("/v1/realtime", {"authorization": "Bearer ä"})) == (3000, "invalid_api_key")
    assert code_of(decide("/v1/realtime", {"authorization": "Bearer"})) == (3000, None)
    assert decide(headers={}, key=None) == Admitted("gpt-realtime-2.1")


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [({**BEARER, "openai-beta": "realtime=v1"}, ()), (BEARER, ("realtime", "openai-beta.realtime-v1"))],
)
def test_the_beta_is_over(headers: dict[str, str], protocols: Sequence[str]) -> None:
    assert code_of(decide(headers=headers, protocols=protocols)) == (4000, "beta_api_shape_disabled")
    accepted = admit(Upgrade(TARGET, headers, protocols), "sk-1", DEFAULT_MODELS, refuse_beta=False)
    assert accepted == Admitted("gpt-realtime-2.1")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "missing_model"),
        ("?model=", "missing_model"),
        ("?model=gpt-4o-realtime-preview", "invalid_model"),
        ("?model=gpt-live-1", "invalid_model"),
        ("?model=whisper-1", "invalid_model"),
        ("?model=gpt-realtime-whisper", "invalid_model"),
        ("?intent=transcription&model=gpt-4o-transcribe", "invalid_model"),
    ],
)
def test_models_that_do_not_converse(query: str, code: str) -> None:
    assert code_of(decide(f"/v1/realtime{query}")) == (4000, code)


def test_a_transcription_session_names_no_model() -> None:
    assert decide("/v1/realtime?intent=transcription") == Admitted("", transcription=True)


def test_only_the_plain_subprotocol_is_selected() -> None:
    assert chosen_subprotocol(["openai-insecure-api-key.x", "realtime"]) == "realtime"
    assert chosen_subprotocol([]) is None
