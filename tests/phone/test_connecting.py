"""What a connection leaves open when it does not come about."""

from __future__ import annotations

import ssl

import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair

from trio_voice.phone.connecting import open_stream


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> trio.abc.Stream:
    """The other end of whatever is connected."""
    ours, theirs = memory_stream_pair()

    async def connect(host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == ("phone.example", 8443)
        return ours

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    return theirs


async def test_without_tls_it_is_the_plain_stream(peer: trio.abc.Stream) -> None:
    stream = await open_stream("phone.example", 8443, tls=False)
    await stream.send_all(b"GET")
    assert await peer.receive_some() == b"GET"


async def test_with_tls_the_certificate_is_checked_against_the_host(
    peer: trio.abc.Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("phone.example").configure_cert(context)
    server = trio.SSLStream(peer, context, server_side=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        stream = await open_stream("phone.example", 8443, tls=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"GET")
        assert await server.receive_some() == b"GET"


async def test_a_server_without_tls_is_hung_up_on(peer: trio.abc.Stream) -> None:
    await peer.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await open_stream("phone.example", 8443, tls=True)
    assert isinstance(broken.value.__cause__, ssl.SSLError)
    while await peer.receive_some():  # its greeting, and then the end
        pass


async def test_a_server_that_says_nothing_is_hung_up_on_by_who_waits(peer: trio.abc.Stream, autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as patience:
        await open_stream("phone.example", 8443, tls=True)
    assert patience.cancelled_caught
    while await peer.receive_some():
        pass
