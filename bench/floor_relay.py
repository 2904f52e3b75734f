"""The floor: a relay on trio and trio-websocket that does nothing but pass frames on, both ways.

No state machine, no journal, no levels, no barge-in, no timers, no errors: what the transport alone costs. The model takes the
turns. Prints its port when it listens.
"""

from __future__ import annotations

import sys

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket_url, serve_websocket

_SETTINGS = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
    },
}


async def up(caller: WebSocketConnection, model: WebSocketConnection) -> None:
    while True:
        message = msgspec.json.decode(await caller.get_message())
        if message["event"] == "media":
            await model.send_message('{"type":"input_audio_buffer.append","audio":"' + message["media"]["payload"] + '"}')
        elif message["event"] == "stop":
            return


async def down(caller: WebSocketConnection, model: WebSocketConnection, stream_sid: str) -> None:
    while True:
        event = msgspec.json.decode(await model.get_message())
        if event["type"] == "response.output_audio.delta":
            await caller.send_message(
                '{"event":"media","streamSid":"' + stream_sid + '","media":{"payload":"' + event["delta"] + '"}}'
            )


async def relay(request: WebSocketRequest, url: str) -> None:
    caller = await request.accept()
    try:
        async with open_websocket_url(url) as model:
            start = {"event": ""}
            while start["event"] != "start":
                start = msgspec.json.decode(await caller.get_message())
            await model.send_message(msgspec.json.encode(_SETTINGS).decode())
            await model.send_message('{"type":"response.create"}')
            async with trio.open_nursery() as nursery:
                nursery.start_soon(down, caller, model, start["streamSid"])
                await up(caller, model)
                nursery.cancel_scope.cancel()
    except* ConnectionClosed:
        pass


async def main(url: str) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, lambda request: relay(request, url), "127.0.0.1", 0, None)
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1])
    except* KeyboardInterrupt:
        pass
