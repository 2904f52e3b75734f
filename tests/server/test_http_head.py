"""Request heads at the edge of what is accepted, and the answers that need no web application."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_voice.server.http_head import LINGER_S, Head, HeadError, ReplayingStream, answer_plainly, read_head

GET = b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n"


async def head_of(data: bytes, max_bytes: int = 16384) -> Head | None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(data)
    await near.send_eof()
    return await read_head(far, max_bytes=max_bytes, timeout_s=10.0)


async def test_a_head_is_parsed_and_what_came_behind_it_is_kept() -> None:
    data = GET + b"X-A: 1\r\nx-a: 2\r\nCookie: a=b\r\nCookie: c=d\r\n\r\nbody"
    assert await head_of(data) == Head(
        "GET", "/a?b=c", "1.1", {"host": "example.com", "x-a": "1, 2", "cookie": "a=b; c=d"}, data, b"body"
    )


async def test_the_path_is_the_target_without_its_query() -> None:
    head = await head_of(GET + b"\r\n")
    assert head is not None
    assert (head.path, head.target) == ("/a", "/a?b=c")


@pytest.mark.parametrize(
    ("fields", "wants"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", True),
        (b"connection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\n", True),
        (b"Connection: keep-alive\r\nUpgrade: websocket\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", False),
        (b"Connection: Upgrade\r\n", False),
        (b"", False),
    ],
)
async def test_a_websocket_is_wanted_when_both_headers_say_so(fields: bytes, wants: bool) -> None:
    head = await head_of(GET + fields + b"\r\n")
    assert head is not None
    assert head.wants_websocket == wants


@pytest.mark.parametrize(
    ("fields", "has_body"),
    [
        (b"", False),
        (b"Content-Length: 0\r\n", False),
        (b"Content-Length: 7\r\n", True),
        (b"Transfer-Encoding: chunked\r\n", True),
    ],
)
async def test_a_body_is_announced(fields: bytes, has_body: bool) -> None:
    head = await head_of(GET + fields + b"\r\n")
    assert head is not None
    assert head.has_body == has_body


async def test_a_wish_for_http2_is_taken_out_of_what_is_replayed() -> None:
    head = await head_of(GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\nX: y\r\n\r\nbody")
    assert head is not None
    assert head.without_upgrade() == b"GET /a?b=c HTTP/1.1\r\nhost: example.com\r\nx: y\r\n\r\nbody"
    plain = await head_of(GET + b"\r\n")
    assert plain is not None
    assert plain.without_upgrade() == GET + b"\r\n"


async def test_a_head_of_exactly_the_limit_is_accepted_and_one_byte_more_is_431() -> None:
    padding = b"X: " + b"x" * (1024 - len(GET) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"
    assert len(GET + padding) == 1024
    assert await head_of(GET + padding, max_bytes=1024) is not None
    with pytest.raises(HeadError) as error:
        await head_of(GET + b"X" + padding, max_bytes=1024)
    assert (error.value.status, str(error.value)) == (431, "the request head is longer than 1024 bytes")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),  # TLS on the plain port
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
async def test_what_is_no_http_1_request_has_its_status(data: bytes, status: int) -> None:
    with pytest.raises(HeadError) as error:
        await head_of(data)
    assert error.value.status == status


@pytest.mark.parametrize("data", [b"", b"GET / HT"])
async def test_a_client_that_leaves_before_its_request_is_complete_is_no_error(data: bytes) -> None:
    assert await head_of(data) is None


async def test_a_head_that_trickles_is_given_up_after_exactly_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()

    async def trickle() -> None:
        for byte in GET:
            await near.send_all(bytes([byte]))
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        began = trio.current_time()
        with pytest.raises(HeadError) as error:
            await read_head(far, max_bytes=1024, timeout_s=10.0)
        assert (error.value.status, trio.current_time() - began) == (408, 10.0)
        nursery.cancel_scope.cancel()


# --- plain answers -----------------------------------------------------------------------------------------------------


async def test_a_plain_answer_is_a_whole_response_and_the_end() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_eof()
    await answer_plainly(far, 426, "use ws://", {"Upgrade": "websocket", "Connection": "Upgrade, close"})
    answer = b""
    while data := await near.receive_some():
        answer += data
    assert answer == (
        b"HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n"
        b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\nuse ws://\n"
    )


async def test_a_refused_client_that_goes_on_sending_is_read_for_exactly_a_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()

    async def keep_sending() -> None:
        while True:
            await near.send_all(b"more")
            await trio.sleep(0.3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_sending)
        began = trio.current_time()
        await answer_plainly(far, 400, "no")
        assert trio.current_time() - began == LINGER_S
        nursery.cancel_scope.cancel()


async def test_a_refused_client_that_floods_is_not_read_to_its_end(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"x" * 100_000)
    began = trio.current_time()
    await answer_plainly(far, 400, "no")
    assert trio.current_time() == began
    assert len(await far.receive_some(1_000_000)) == 100_000 - 65_536


# --- replaying ---------------------------------------------------------------------------------------------------------


async def test_a_replaying_stream_gives_what_was_read_first_and_passes_everything_else_on() -> None:
    near, far = trio.testing.memory_stream_pair()
    stream = ReplayingStream(b"abc", far)
    await near.send_all(b"def")
    assert await stream.receive_some(2) == b"ab"
    assert await stream.receive_some() == b"c"
    assert await stream.receive_some() == b"def"
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"x")
    await stream.send_eof()
    assert await near.receive_some() == b"x"
    assert await near.receive_some() == b""
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await far.receive_some()
