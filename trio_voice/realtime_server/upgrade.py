"""The upgrade to a WebSocket: what a request must bring, and the 101 that answers it. Pure. Source: RFC 6455, RFC 7692."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence

from attrs import frozen

from trio_voice.errors import RemoteProtocolError

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DEFLATE_ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@frozen
class Acceptance:
    """The answer to an upgrade: its bytes, and whether messages may be compressed."""

    response: bytes
    deflated: bool


def offered(value: str) -> list[str]:
    """Return the members of a comma-separated header."""
    return [each.strip() for each in value.split(",") if each.strip()]


def accept(headers: Mapping[str, str], subprotocol: str | None) -> Acceptance:
    """Return the 101. Raises RemoteProtocolError for a request that is no proper upgrade."""
    if "upgrade" not in [each.lower() for each in offered(headers.get("connection", ""))]:
        raise RemoteProtocolError("a WebSocket upgrade needs the header Connection: Upgrade")
    if headers.get("sec-websocket-version", "").strip() != "13":
        raise RemoteProtocolError("only WebSocket version 13 is spoken here")
    key = headers.get("sec-websocket-key", "").strip()
    if not _is_key(key):
        raise RemoteProtocolError("Sec-WebSocket-Key must be 16 bytes in base64")
    digest = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()
    deflated = can_deflate(offered(headers.get("sec-websocket-extensions", "")))
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {digest}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if deflated:
        lines.append(f"Sec-WebSocket-Extensions: {_DEFLATE_ANSWER}")
    return Acceptance("\r\n".join([*lines, "", ""]).encode("ascii"), deflated)


def can_deflate(extensions: Sequence[str]) -> bool:
    """Whether a permessage-deflate offer is among these that the answer (no context takeover, 15 bits) satisfies."""
    for each in extensions:
        name, *parameters = [part.strip() for part in each.split(";")]
        if name == "permessage-deflate" and not any(part.startswith("server_max_window_bits") for part in parameters):
            return True
    return False


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
