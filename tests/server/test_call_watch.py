"""Who watches a call sees what matters, who listens to it everything, both in the call's own order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio.testing
from attrs import define, field

from tests.server.rig import VOICE, rig
from trio_voice.core.commands import Command
from trio_voice.core.events import Event
from trio_voice.core.settings import CallSettings
from trio_voice.server.call_watch import CallFacts, Listener
from trio_voice.server.directory import LiveCall


@define
class Notes:
    """Writes down what it is told."""

    facts: CallFacts | None = None
    seen: list[str] = field(factory=list)
    times: list[float] = field(factory=list)
    ends: list[str] = field(factory=list)

    def on_event(self, now: float, event: Event) -> None:
        self._note(now, event)

    def on_command(self, now: float, command: Command) -> None:
        self._note(now, command)

    def on_end(self, now: float, reason: str) -> None:
        self.times.append(now)
        self.ends.append(reason)

    def _note(self, now: float, what: Event | Command) -> None:
        self.times.append(now)
        self.seen.append(type(what).__name__)


async def test_single_frames_of_the_caller_are_for_listeners_only(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    watching, listening = list[Notes](), Notes()

    def watch(facts: CallFacts) -> Notes:
        watching.append(Notes(facts))
        return watching[-1]

    @asynccontextmanager
    async def attend(_live: LiveCall) -> AsyncIterator[Listener]:
        yield listening

    settings = CallSettings(greeting=False, idle_s=0)
    async with rig(tmp_path, settings=settings, watches=(watch,), witnesses=(attend,)) as world, world.call() as phone:
        model = await world.session()
        await phone.say(10, VOICE)
        await model.hear()
        await model.expect("response.create")
        await model.answer(100)
        await phone.hang_up()
        await phone.end()
    (watcher,) = watching
    assert watcher.facts is not None
    assert (watcher.facts.call_sid, watcher.facts.dialect) == (phone.carrier.identity.call_sid, "twilio")
    assert {"CallerAudio", "AppendAudio"} <= set(listening.seen)
    assert watcher.seen == [each for each in listening.seen if each not in ("CallerAudio", "AppendAudio")]
    assert {"CallStarted", "ModelAudio", "PlayAudio", "Close"} <= set(watcher.seen)
    assert watcher.times == sorted(watcher.times)
    assert (watcher.ends, listening.ends) == (["the carrier sent stop"], [])
