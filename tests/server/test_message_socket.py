"""What every message socket has: a sentence for how it ended, and messages handed over one by one, in order."""

from __future__ import annotations

import pytest

from tests.server.memory_socket import socket_pair
from trio_voice.server.message_socket import SocketClosed


def test_how_a_connection_ended_is_told_with_its_code_and_its_reason_if_there_is_one() -> None:
    assert str(SocketClosed(1006)) == "the connection was closed (1006)"
    assert str(SocketClosed(1001, "the server stops")) == "the connection was closed (1001: the server stops)"


async def test_all_that_came_is_handed_over_in_order_and_then_the_end_is_told() -> None:
    near, far = socket_pair()
    for message in ("one", b"two", "three"):
        await near.send(message)
    await near.close(1000, "done")
    taken: list[str | bytes] = []
    with pytest.raises(SocketClosed) as closed:
        await far.hand_over(taken.append)
    assert taken == ["one", b"two", "three"]
    assert (closed.value.code, closed.value.reason) == (1000, "done")


async def test_what_the_taker_raises_ends_the_handing_over_and_leaves_the_rest_to_receive() -> None:
    near, far = socket_pair()
    await near.send("one")
    await near.send("two")

    def refuse(message: str | bytes) -> None:
        raise ValueError(message)

    with pytest.raises(ValueError, match="one"):
        await far.hand_over(refuse)
    assert await far.receive() == "two"
