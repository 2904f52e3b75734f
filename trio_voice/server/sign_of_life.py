"""Finds a peer that is gone without a word: its machine has died, or the network between has. TCP alone tells after minutes.

A caller who speaks to such a model hears nothing, and nothing tells the call why. So a peer that has been quiet is asked for a
sign of life (a Ping, RFC 6455, section 5.5.2), and has a short time to give one. Anything that comes is one.
"""

from __future__ import annotations

import trio

from trio_voice.server.websocket import MessageSocket, SocketClosed
from trio_voice.storage.slots import begin_of_slot


async def watch_for_life(socket: MessageSocket, every_s: float, limit_s: float) -> None:
    """Watch a connection to its end, while another task receives.

    A peer from which nothing comes for `every_s`, and then for `limit_s` more although it was asked, is gone: the connection is
    over, and who receives is told. It may be asked a tenth of a second earlier, with others.
    """
    try:
        while True:
            await trio.sleep_until(_asked_at(socket.heard_at, every_s))
            if _asked_at(socket.heard_at, every_s) <= trio.current_time():
                await socket.ping(limit_s)
    except SocketClosed:
        return


def _asked_at(heard_at: float, every_s: float) -> float:
    at = heard_at + every_s
    begin = begin_of_slot(at)
    return begin if begin > heard_at else at
