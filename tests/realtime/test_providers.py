from __future__ import annotations

import pytest

from trio_voice.errors import UserError
from trio_voice.realtime.providers import OPENAI, PROVIDERS, http_api_url, session_url, upgrade_headers


def test_openai() -> None:
    assert PROVIDERS["openai"] is OPENAI
    assert session_url(OPENAI.base_url, OPENAI.model) == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime?model=m"),
        ("https://api.openai.com/v1/", "wss://api.openai.com/v1/realtime?model=m"),
        ("ws://127.0.0.1:9000/v1/realtime", "ws://127.0.0.1:9000/v1/realtime?model=m"),
        ("http://[::1]:9000", "ws://[::1]:9000/realtime?model=m"),
        ("wss://x/v1/realtime?model=other&region=eu", "wss://x/v1/realtime?region=eu&model=m"),
        ("wss://x/openai/v1?a=1%202&b=", "wss://x/openai/v1/realtime?a=1+2&b=&model=m"),
    ],
)
def test_the_address_of_a_session(base_url: str, url: str) -> None:
    assert session_url(base_url, "m") == url


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("wss://api.openai.com/v1", "https://api.openai.com/v1"),
        ("ws://127.0.0.1:9000/v1/realtime", "http://127.0.0.1:9000/v1"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("wss://x/openai/v1/?region=eu&model=m", "https://x/openai/v1?region=eu"),
    ],
)
def test_the_http_api_is_beside_the_sessions(base_url: str, url: str) -> None:
    assert http_api_url(base_url) == url


def test_a_models_name_is_quoted() -> None:
    assert session_url("ws://x", "my model/ü&a=b") == "ws://x/realtime?model=my+model%2F%C3%BC%26a%3Db"


@pytest.mark.parametrize(
    "base_url", ["", "api.openai.com/v1", "ftp://x/v1", "wss://", "wss:///v1", "ws://x:port", "ws://[::1", "ws://x:99999"]
)
def test_what_is_no_address_is_the_users_mistake(base_url: str) -> None:
    with pytest.raises(UserError, match="the model's URL"):
        session_url(base_url, "m")


def test_a_key_in_a_query_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        session_url("ftp://x/v1?api-key=secret", "m")
    assert "secret" not in str(caught.value)


def test_the_key_travels_as_a_bearer_token() -> None:
    assert upgrade_headers("sk-1 \n") == {"Authorization": "Bearer sk-1"}
    assert upgrade_headers(None) == {}


@pytest.mark.parametrize("key", ["", "  ", "sk-1\r\nX: y", "sk\u00e9", "sk 1", "\u201csk-1\u201d"])
def test_a_key_that_is_none_is_the_users_mistake(key: str) -> None:
    with pytest.raises(UserError, match="API key") as caught:
        upgrade_headers(key)
    assert key.strip() == "" or key not in str(caught.value)
