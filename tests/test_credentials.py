"""Where secrets come from, and that they stay there."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_voice.credentials import Credentials
from trio_voice.errors import ConfigError

API_TOKEN = "a-token-that-is-long-enough"


def test_r40_secrets_come_from_the_environment() -> None:
    environ = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "t1", "TRIO_VOICE_API_TOKEN": API_TOKEN}
    found = Credentials.found(environ)
    assert found == Credentials(twilio_account_sid="AC1", twilio_auth_tokens=("t1",), api_token=API_TOKEN)
    assert found.secrets == ("t1", API_TOKEN)
    assert Credentials.found({}) == Credentials()
    assert Credentials.found(environ, account_sid="AC2").twilio_account_sid == "AC2"


def test_r40_or_from_files_which_come_first(tmp_path: Path) -> None:
    tokens, api = tmp_path / "tokens", tmp_path / "api"
    tokens.write_text("t2\nt3\nt4\n", encoding="utf-8")
    api.write_text(f"{API_TOKEN}\n", encoding="utf-8")
    found = Credentials.found({"TWILIO_AUTH_TOKEN": "t1"}, auth_token_file=tokens, api_token_file=api)
    assert (found.twilio_auth_tokens, found.api_token) == (("t2", "t3"), API_TOKEN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "twilio.auth_token_file {file}: the token cannot be read (No such file or directory)"),
        (b"\xff", "twilio.auth_token_file {file}: the token cannot be read (not UTF-8 text)"),
        (b" \n", "twilio.auth_token_file {file}: the file is empty"),
        (
            "s€cret".encode(),
            "twilio.auth_token_file {file}: a token has a character that no token has; copy it again, without quotes or spaces",
        ),
    ],
)
def test_r40_a_mistake_is_told_without_the_secret(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Credentials.found({}, auth_token_file=file)
    assert str(caught.value) == says.format(file=file)


def test_r40_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="TRIO_VOICE_API_TOKEN: a token that opens every call must have at least 16") as caught:
        Credentials.found({"TRIO_VOICE_API_TOKEN": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_in_what_is_printed() -> None:
    text = repr(Credentials(twilio_auth_tokens=("t1-secret",), api_token=API_TOKEN))
    assert "t1-secret" not in text
    assert API_TOKEN not in text
