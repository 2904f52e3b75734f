"""A caller and a model that play a call by themselves, over any `MessageSocket`: for calls that are broken off, and for many.

What they do is a script; with a source of chance, chance decides how it is bent.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from random import Random
from typing import Any

import trio
from attrs import define, field

from trio_voice.audio.g711 import BYTES_PER_MS
from trio_voice.phone.carrier import Carrier, Identity
from trio_voice.server.message_socket import NOTHING, Sent
from trio_voice.server.websocket import MessageSocket, SocketClosed

FRAME_MS = 200
SPEECH = bytes(range(0x20, 0x30)) * (250 * BYTES_PER_MS // 16)


@define(eq=False)
class Mortal(MessageSocket):
    """A socket whose user dies after the k-th message, sent or received (0: never): `die` is called, and nothing moves on it."""

    socket: MessageSocket
    dies_after: int
    die: Callable[[], Awaitable[None]]
    messages: int = field(default=0, init=False)

    @property
    def remote(self) -> str:
        return self.socket.remote

    def is_dead(self) -> bool:
        return 0 < self.dies_after <= self.messages

    async def receive(self) -> str | bytes:
        message = await self.socket.receive()
        await self._count()
        return message

    async def send(self, message: str | bytes) -> None:
        if self.is_dead():
            await trio.sleep_forever()
        await self.socket.send(message)
        await self._count()

    def send_now(self, _message: str | bytes) -> Sent:
        return NOTHING

    async def flush(self) -> None:
        await self.socket.flush()

    @property
    def heard_at(self) -> float:
        return self.socket.heard_at

    async def ping(self, limit_s: float) -> None:
        await self.socket.ping(limit_s)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.socket.close(code, reason)

    async def _count(self) -> None:
        if self.is_dead():
            await trio.sleep_forever()
        self.messages += 1
        if self.is_dead():
            with suppress(SocketClosed):
                await self.die()
            raise SocketClosed(1006, "died")


@define(eq=False)
class Caller:
    """A telephone. `script` is a sequence of (milliseconds, what is said); at its end the caller hangs up."""

    socket: MessageSocket
    script: Sequence[tuple[int, bytes]]
    identity: Identity = field(factory=Identity.made_up)
    frame_ms: int = FRAME_MS
    carrier: Carrier = field(init=False)
    closed: SocketClosed | None = field(default=None, init=False)
    _moved: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self.carrier = Carrier(self.identity)

    async def run(self) -> None:
        """Place the call and live it to its end, whoever ends it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_closed, self._listen, nursery.cancel_scope)
            nursery.start_soon(self._until_closed, self._play, nursery.cancel_scope)
            nursery.start_soon(self._until_closed, self._speak, nursery.cancel_scope)
        await self.socket.close()

    async def _until_closed(self, task: Any, call: trio.CancelScope) -> None:
        try:
            await task()
        except SocketClosed as closed:
            self.closed = closed
            call.cancel()

    async def _speak(self) -> None:
        for message in self.carrier.answer(trio.current_time()):
            await self.socket.send(message)
        for duration_ms, sound in self.script:
            for _ in range(duration_ms // self.frame_ms):
                await self.socket.send(self.carrier.speak(sound))
                await trio.sleep(self.frame_ms / 1000)
        for message in self.carrier.stop(trio.current_time()):
            await self.socket.send(message)

    async def _listen(self) -> None:
        while True:
            for echo in self.carrier.receive(await self.socket.receive(), trio.current_time()):
                await self.socket.send(echo)
            self._moved.unpark_all()

    async def _play(self) -> None:
        while True:
            deadline = self.carrier.next_deadline()
            with trio.move_on_at(inf if deadline is None else deadline):
                await self._moved.park()
            for echo in self.carrier.advance(trio.current_time()):
                await self.socket.send(echo)


@define(eq=False)
class Model:
    """A model that hears turns by a schedule of appended milliseconds, and answers each request in pieces of 250 ms.

    `turns`: (begin, end) on the clock of the appended audio. `replies`: how long each reply is, in ms; the last one calls the
    tool `hang_up` if `hangs_up`.
    """

    socket: MessageSocket
    turns: Sequence[tuple[int, int]] = ()
    replies: Sequence[int] = (500,)
    hangs_up: bool = False
    chance: Random | None = None
    piece_s: float = 0.02
    _out: tuple[trio.MemorySendChannel[str], trio.MemoryReceiveChannel[str]] = field(
        factory=lambda: trio.open_memory_channel[str](inf), init=False
    )
    _appended: int = field(default=0, init=False)
    _heard: int = field(default=0, init=False)
    _responses: int = field(default=0, init=False)
    _speaking: dict[str, trio.CancelScope] = field(factory=dict, init=False)

    async def run(self) -> None:
        """Serve the session to its end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            with suppress(SocketClosed):
                self._send("session.created", session={})
                update = json.loads(await self.socket.receive())
                self._send("session.updated", session=update["session"])
                while True:
                    self._take(json.loads(await self.socket.receive()), nursery)
            nursery.cancel_scope.cancel()
        await self.socket.close()

    def _take(self, event: dict[str, Any], nursery: trio.Nursery) -> None:
        match event["type"]:
            case "input_audio_buffer.append":
                self._appended += len(event["audio"]) * 3 // 4 // BYTES_PER_MS
                self._hear()
            case "response.create":
                nursery.start_soon(self._respond, event)
            case "response.cancel":
                self._cancel(event)

    def _send(self, kind: str, **fields: Any) -> None:
        self._out[0].send_nowait(json.dumps({"type": kind, "event_id": "e", **fields}))

    async def _write(self, session: trio.CancelScope) -> None:
        """The only task that sends: who is cancelled must not be in the middle of a message."""
        with suppress(SocketClosed):
            async for message in self._out[1]:
                await self.socket.send(message)
        session.cancel()

    def _hear(self) -> None:
        while self._heard < 2 * len(self.turns):
            turn, ends = divmod(self._heard, 2)
            if self._appended < self.turns[turn][ends]:
                return
            self._heard += 1
            if ends:
                self._send("input_audio_buffer.speech_stopped", item_id=f"u{turn}", audio_end_ms=self._appended)
                self._send("input_audio_buffer.committed", item_id=f"u{turn}", previous_item_id=None)
            else:
                self._send("input_audio_buffer.speech_started", item_id=f"u{turn}", audio_start_ms=self._appended)

    async def _respond(self, create: dict[str, Any]) -> None:
        if self._speaking:
            error = {"code": "conversation_already_has_active_response", "message": "", "event_id": create["event_id"]}
            self._send("error", error={"type": "invalid_request_error", **error})
            return
        number, self._responses = self._responses, self._responses + 1
        response_id, item_id = f"r{number}", f"i{number}"
        with trio.CancelScope() as self._speaking[response_id]:
            metadata = create["response"].get("metadata")
            self._send("response.created", response={"id": response_id, "status": "in_progress", "metadata": metadata})
            await self._speak(response_id, item_id, self.replies[min(number, len(self.replies) - 1)])
            if self.hangs_up and number >= len(self.replies) - 1:
                call = {"id": f"f{number}", "type": "function_call", "call_id": f"c{number}", "status": "completed"}
                item = {**call, "name": "hang_up", "arguments": "{}"}
                self._send("response.output_item.done", response_id=response_id, output_index=1, item=item)
            self._send("response.done", response={"id": response_id, "status": "completed", "output": []})
        self._speaking.pop(response_id, None)

    async def _speak(self, response_id: str, item_id: str, reply_ms: int) -> None:
        place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
        item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        self._send("response.output_item.added", response_id=response_id, output_index=0, item=item)
        for _ in range(0, reply_ms, 250):
            await trio.sleep(self.piece_s if self.chance is None else self.chance.expovariate(1 / self.piece_s))
            self._send("response.output_audio.delta", delta=b64encode(SPEECH).decode(), **place)
        self._send("response.output_audio.done", **place)

    def _cancel(self, event: dict[str, Any]) -> None:
        scope = self._speaking.pop(event["response_id"], None)
        if scope is None:
            error = {"code": "response_cancel_not_active", "message": "", "event_id": event["event_id"]}
            self._send("error", error={"type": "invalid_request_error", **error})
        else:
            scope.cancel()
            self._send("response.done", response={"id": event["response_id"], "status": "cancelled", "output": []})
