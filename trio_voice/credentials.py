"""Secrets of carriers and of the API: from the environment or from files, and never from what is read and shared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from trio_voice.errors import ConfigError

ACCOUNT_SID_VARIABLE = "TWILIO_ACCOUNT_SID"
AUTH_TOKEN_VARIABLE = "TWILIO_AUTH_TOKEN"  # noqa: S105 - a variable's name
API_TOKEN_VARIABLE = "TRIO_VOICE_API_TOKEN"  # noqa: S105 - likewise
API_TOKEN_CHARACTERS = 16
"""A token of the API that people choose must be at least this long."""


@frozen(kw_only=True)
class Credentials:
    """What there is."""

    twilio_account_sid: str | None = None
    twilio_auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    """The account's auth token, and the one that is about to replace it, if there is one."""
    api_token: str | None = field(default=None, repr=False)
    """None: the server makes one for each run."""

    @classmethod
    def found(
        cls,
        environ: Mapping[str, str],
        *,
        account_sid: str | None = None,
        auth_token_file: Path | None = None,
        api_token_file: Path | None = None,
    ) -> Credentials:
        """Look in the environment and in the files. Raises ConfigError, without what was found."""
        auth_tokens = _secrets(environ, AUTH_TOKEN_VARIABLE, "twilio.auth_token_file", auth_token_file)
        api_tokens = _secrets(environ, API_TOKEN_VARIABLE, "server.api_token_file", api_token_file)
        for token in api_tokens[:1]:
            if len(token) < API_TOKEN_CHARACTERS:
                origin = API_TOKEN_VARIABLE if api_token_file is None else f"server.api_token_file {api_token_file}"
                raise ConfigError(
                    f"{origin}: a token that opens every call must have at least {API_TOKEN_CHARACTERS} characters; "
                    "make one with: openssl rand -hex 24"
                )
        return cls(
            twilio_account_sid=account_sid or environ.get(ACCOUNT_SID_VARIABLE) or None,
            twilio_auth_tokens=auth_tokens,
            api_token=api_tokens[0] if api_tokens else None,
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that must not be shown."""
        return (*self.twilio_auth_tokens, *(() if self.api_token is None else (self.api_token,)))


def _secrets(environ: Mapping[str, str], variable: str, setting: str, file: Path | None) -> tuple[str, ...]:
    """Read secrets, divided by spaces or lines: from the file if one is named, else from the environment."""
    if file is None:
        origin, text = f"environment variable {variable}", environ.get(variable, "")
    else:
        origin = f"{setting} {file}"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "not UTF-8 text"
            raise ConfigError(f"{origin}: the token cannot be read ({reason})") from None
        if not text.strip():
            raise ConfigError(f"{origin}: the file is empty")
    tokens = tuple(text.split())
    if not all(re.fullmatch(r"[\x21-\x7e]+", token) for token in tokens):
        raise ConfigError(f"{origin}: a token has a character that no token has; copy it again, without quotes or spaces")
    return tokens[:2]
