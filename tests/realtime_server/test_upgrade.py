from __future__ import annotations

import pytest

from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime_server.upgrade import accept, can_deflate

HEADERS = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_the_example_of_rfc_6455() -> None:
    acceptance = accept(HEADERS, None)
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in acceptance.response
    assert acceptance.response.startswith(b"HTTP/1.1 101 ")
    assert acceptance.response.endswith(b"\r\n\r\n")
    assert not acceptance.deflated
    assert b"Protocol" not in acceptance.response.split(b"\r\n", 1)[1]


def test_a_subprotocol_is_named() -> None:
    assert b"Sec-WebSocket-Protocol: realtime\r\n" in accept(HEADERS, "realtime").response


@pytest.mark.parametrize(
    "wrong",
    [{"connection": "close"}, {"sec-websocket-version": "8"}, {"sec-websocket-key": "short"}, {"sec-websocket-key": "ä"}],
)
def test_what_is_no_upgrade_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError):
        accept({**HEADERS, **wrong}, None)


def test_compression_is_accepted_when_the_offer_can_be_met() -> None:
    assert can_deflate(["permessage-deflate; client_max_window_bits"])
    assert can_deflate(["x-other", "permessage-deflate"])
    assert not can_deflate(["permessage-deflate; server_max_window_bits=9"])
    assert not can_deflate([])
    acceptance = accept({**HEADERS, "sec-websocket-extensions": "permessage-deflate"}, None)
    assert acceptance.deflated
    assert b"permessage-deflate; server_no_context_takeover; client_no_context_takeover" in acceptance.response
