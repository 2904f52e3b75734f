"""Where the Realtime protocol is offered, and what is different there.

A `Provider` is the seam for servers that speak the protocol with deviations: a field is added to it when code needs to know.
Today OpenAI is the only one with an entry; any other server that speaks the protocol is reached by its URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from attrs import frozen

from trio_voice.errors import UserError

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_ENDPOINT = "/realtime"


@frozen(kw_only=True)
class Provider:
    """A service that speaks the Realtime protocol."""

    name: str
    base_url: str
    key_variable: str
    """The environment variable that holds its key."""
    model: str
    """The model to use when none is chosen."""
    voice: str
    """The voice to use when none is chosen."""


OPENAI = Provider(
    name="openai",
    base_url="wss://api.openai.com/v1",
    key_variable="OPENAI_API_KEY",
    model="gpt-realtime-2.1",
    voice="marin",
)
PROVIDERS: Mapping[str, Provider] = MappingProxyType({OPENAI.name: OPENAI})


def session_url(base_url: str, model: str) -> str:
    """Return the address of a session: the base URL (ws, wss, http or https), its `/realtime` and the model.

    A base URL that ends in `/realtime` is taken as it is; its query, other than a model, is kept. Raises UserError for what is
    no such URL.
    """
    shown = base_url.partition("?")[0]  # a query may hold a key
    try:
        parts = urlsplit(base_url)
        scheme, host, _port = _SCHEMES.get(parts.scheme), parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"the model's URL {shown!r} cannot be read: {error}") from None
    if scheme is None or not host:
        raise UserError(f"the model's URL {shown!r} must look like wss://host/v1 or https://host/v1")
    path = parts.path.rstrip("/")
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "model"]
    return urlunsplit(
        (
            scheme,
            parts.netloc,
            path if path.endswith(_ENDPOINT) else path + _ENDPOINT,
            urlencode([*query, ("model", model)]),
            "",
        )
    )


def http_api_url(base_url: str) -> str:
    """Return the base URL of the HTTP API beside a Realtime endpoint: `wss://host/v1/realtime` has `https://host/v1`.

    Raises UserError for what is no such URL.
    """
    parts = urlsplit(session_url(base_url, ""))
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "model"]
    scheme = "https" if parts.scheme == "wss" else "http"
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix(_ENDPOINT), urlencode(query), ""))


def upgrade_headers(api_key: str | None) -> dict[str, str]:
    """Return the headers of the upgrade; no key, no header. Raises UserError for a key that no header can hold."""
    if api_key is None:
        return {}
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            "the model's API key is empty or has a character that no key has; copy it again, without quotes or spaces"
        )
    return {"Authorization": f"Bearer {key}"}
