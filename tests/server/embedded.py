"""The real embedded Realtime server at the model's end of a `Rig`, over memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from attrs import define, field

from trio_voice.realtime_server.script import Script
from trio_voice.realtime_server.server import ModelServer, ModelServerSettings
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings


@define(eq=False)
class Embedded:
    """An embedded server that can be killed: then its connections break, and new ones are not answered."""

    server: ModelServer
    dead: bool = False
    deaf: bool = False
    """Connections are taken, and nothing is read from them or said on them."""
    connections: int = field(default=0, init=False)
    _scopes: list[trio.CancelScope] = field(factory=list, init=False)

    async def handle(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve a connection to its end, or to the server's."""
        self.connections += 1
        if not self.dead:
            with trio.CancelScope() as scope:
                self._scopes.append(scope)
                if self.deaf:
                    await trio.sleep_forever()
                await self.server.handle(stream)
        await trio.aclose_forcefully(stream)

    def kill(self) -> None:
        """End all connections without a word, and answer none."""
        self.dead = True
        for scope in self._scopes:
            scope.cancel()
        self._scopes.clear()

    def switch(self, **changes: object) -> None:
        """Set switches, for the sessions that are and those that will be."""
        self.server.switches = self.server.switches.changed(changes, "test")
        self.switch_sessions(**changes)

    def switch_sessions(self, **changes: object) -> None:
        """Set switches for the sessions that are."""
        for connection in self.server.sessions.values():
            behaviour = connection.session.behaviour
            behaviour.change(behaviour.switches.changed(changes, "test"))
            connection.set_alarm()


@asynccontextmanager
async def embedded_server(script: Script) -> AsyncIterator[Embedded]:
    """A server that speaks in tones, which cost nothing."""
    settings = ModelServerSettings(script=script, voice=VoiceSettings(engine="tones"), seed=1)
    async with VoicePool(settings.voice) as voice:
        yield Embedded(ModelServer(settings, voice, script.switches))


@asynccontextmanager
async def embedded_model(script: Script) -> AsyncIterator[Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]]:
    """What answers a connection to the model."""
    async with embedded_server(script) as server:
        yield server.server.handle
