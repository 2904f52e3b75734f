"""The handshake on bytes; conversations, and what people are told, are in test_websocket.py."""

from __future__ import annotations

import pytest

from trio_voice.server.handshake import (
    BODY_BYTES,
    ClientHandshake,
    HandshakeError,
    HandshakeRejected,
    ServerHandshake,
    accept_token,
)

HEAD = (
    b"GET /media?x=1 HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def test_the_token_is_that_of_the_rfc() -> None:
    assert accept_token(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3


def test_both_roles_agree_and_what_follows_the_heads_is_kept() -> None:
    client, server = ClientHandshake("example.com:80", "/v1?model=m", {"Authorization": "Bearer k"}), ServerHandshake()
    sent = client.request()
    assert server.receive(sent[:20]) is None
    request = server.receive(sent[20:] + b"first frame")
    assert request is not None
    assert (request.target, request.headers, request.subprotocols) == ("/v1?model=m", (("authorization", "Bearer k"),), ())
    answer = server.accept(None)
    assert server.trailing == b"first frame"
    assert not client.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer[:10])
    assert client.receive(answer[10:] + b"hello")
    assert client.trailing == b"hello"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD.replace(b"GET", b"POST"), b"400"),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), b"400"),
        (HEAD.replace(b"keep-alive, Upgrade", b"keep-alive"), b"400"),
        (HEAD.replace(b"Upgrade: WebSocket", b"Upgrade: h2c"), b"400"),
        (HEAD.replace(b"Host: example.com", b"Host: \xff"), b"400"),
        (HEAD.replace(KEY, b"c2hvcnQ="), b"400"),
        (HEAD.replace(KEY, b"no base64!"), b"400"),
        (HEAD.replace(b"Version: 13", b"Version: 8"), b"426"),
    ],
)
def test_a_request_that_cannot_be_answered_with_101_is_told_why(head: bytes, status: bytes) -> None:
    with pytest.raises(HandshakeError) as error:
        ServerHandshake().receive(head + b"\r\n")
    assert error.value.answer.startswith(b"HTTP/1.1 " + status)
    assert str(error.value).encode() in error.value.answer
    assert (b"Sec-WebSocket-Version: 13\r\n" in error.value.answer) is (status == b"426")


def test_a_stream_that_ends_before_the_request_is_an_error() -> None:
    with pytest.raises(HandshakeError):
        ServerHandshake().receive(b"")
    server = ServerHandshake()
    server.receive(HEAD)
    with pytest.raises(HandshakeError):
        server.receive(b"")


def answered(text: bytes, token: bytes | None = None) -> ClientHandshake:
    """A client that was answered with this head; `token` stands for the right one."""
    client = ClientHandshake("example.com", "/", {})
    sent = client.request()
    key = sent.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    client.receive(text.replace(b"TOKEN", accept_token(key)) + b"\r\n")
    return client


SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: TOKEN\r\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SWITCHED.replace(b"TOKEN", b"no"), "wrong Sec-WebSocket-Accept"),
        (SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: h2c"), "does not upgrade"),
        (SWITCHED.replace(b"Connection: upgrade\r\n", b""), "does not upgrade"),
        (SWITCHED + b"Sec-WebSocket-Extensions: permessage-deflate\r\n", "not asked for"),
        (SWITCHED + b"Sec-WebSocket-Protocol: chat\r\n", "not asked for"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(text: bytes, says: str) -> None:
    answered(SWITCHED)
    with pytest.raises(HandshakeError, match=says):
        answered(text)


def test_a_refusal_is_its_status_and_its_text_even_when_it_is_cut_off() -> None:
    head = b"HTTP/1.1 429 Too Many\r\nContent-Length: 10\r\n"
    with pytest.raises(HandshakeRejected) as rejected:
        answered(head + b"\r\nslow down!")
    assert (rejected.value.status, rejected.value.body) == (429, "slow down!")
    client = answered(head)
    assert not client.receive(b"slow")
    with pytest.raises(HandshakeRejected) as rejected:
        client.receive(b"")
    assert (rejected.value.status, rejected.value.body) == (429, "slow")


def test_a_refusal_of_any_length_is_kept_within_bounds() -> None:
    client = answered(b"HTTP/1.1 500 No\r\nConnection: close\r\n")
    for _ in range(100):
        client.receive(b"x" * 10_000)
    with pytest.raises(HandshakeRejected) as rejected:
        client.receive(b"")
    assert len(rejected.value.body) == BODY_BYTES


@pytest.mark.parametrize("headers", [{"X-Key": "two\r\nlines"}, {"X-Key": "é€"}])
def test_a_header_that_cannot_be_written_is_said_so(headers: dict[str, str]) -> None:
    with pytest.raises(HandshakeError, match="the request cannot be written"):
        ClientHandshake("example.com", "/", headers).request()
