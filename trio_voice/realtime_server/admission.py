"""Who may open a session: decided from the upgrade request alone, purely.

The service accepts every upgrade and refuses afterwards, by one `error` event and CLOSE. Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

import fnmatch
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from attrs import frozen

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.errors_on_the_wire import Refusal

PATH = "/v1/realtime"
_KEY_PROTOCOL = "openai-insecure-api-key."
DEFAULT_MODELS = ("gpt-realtime*",)
_NOT_CONVERSING = ("gpt-realtime-whisper", "gpt-realtime-translate")


@frozen
class Upgrade:
    """An upgrade request: its target (path and query), headers by lower-case name, and the subprotocols it offers."""

    target: str
    headers: Mapping[str, str]
    subprotocols: Sequence[str] = ()

    @property
    def path(self) -> str:
        """The target's path."""
        return urlsplit(self.target).path

    def query(self, name: str) -> str | None:
        """Return a parameter of the query; None when it is missing or empty."""
        values = parse_qs(urlsplit(self.target).query).get(name)
        return values[0] if values else None

    @property
    def api_key(self) -> str | None:
        """The key, from the header or from a browser's subprotocol."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if token and scheme.lower() in ("bearer", "basic"):
            return token.strip()
        if self.headers.get("api-key"):
            return self.headers["api-key"]
        keys = [each.removeprefix(_KEY_PROTOCOL) for each in self.subprotocols if each.startswith(_KEY_PROTOCOL)]
        return keys[0] if keys else None


@frozen
class Admitted:
    """The session may begin; `model` is empty for a transcription session."""

    model: str
    transcription: bool = False


def key_is(upgrade: Upgrade, api_key: str) -> bool:
    """Whether the request brings this key (compared in constant time)."""
    return hmac.compare_digest((upgrade.api_key or "").encode(), api_key.encode())


def admit(upgrade: Upgrade, api_key: str | None, models: Sequence[str], *, refuse_beta: bool = True) -> Admitted | Refusal:
    """Decide. `api_key` is the one to expect (None: none is asked for); `models` are patterns such as `gpt-realtime*`."""
    given = upgrade.api_key
    if api_key is not None and given is None:
        return errors.no_authorization()
    if api_key is not None and given is not None and not key_is(upgrade, api_key):
        return errors.invalid_api_key(given)
    if refuse_beta and _asks_for_beta(upgrade):
        return errors.beta_disabled()
    model = upgrade.query("model")
    if upgrade.query("intent") == "transcription" and model is None:
        return Admitted("", transcription=True)
    if model is None:
        return errors.missing_model()
    known = any(fnmatch.fnmatchcase(model, pattern) for pattern in models)
    if not known or model in _NOT_CONVERSING:
        return errors.invalid_model(model)
    return Admitted(model)


def _asks_for_beta(upgrade: Upgrade) -> bool:
    return "openai-beta" in upgrade.headers or any(each.startswith("openai-beta.") for each in upgrade.subprotocols)


def chosen_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to select: `realtime`, if it is offered."""
    return "realtime" if "realtime" in offered else None
