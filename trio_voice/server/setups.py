"""What a call's sessions are made of: which agent, with which voice, tools and settings.

The state machine knows setups by their numbers: 0 is the one that the call begins with, the others are changes that were asked
for. Each session has one, and tools are looked up in that of the session whose model called them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve, field, frozen

from trio_voice.agent.agent import Agent
from trio_voice.agent.change import Change
from trio_voice.agent.tool import Tool
from trio_voice.core.commands import ReportChange
from trio_voice.core.events import ChangeAsked
from trio_voice.core.settings import Wording
from trio_voice.realtime.settings import SessionSettings


@frozen(kw_only=True)
class Setup:
    """What a session is opened with."""

    agent_name: str
    session: SessionSettings
    toolbox: Mapping[str, Tool]


@define(eq=False)
class CallSetups:
    """The setups of one call, by their numbers, and the changes that have not come to their end."""

    first: Setup
    wording: Wording = field(factory=Wording)
    serving: int = field(default=0, init=False)
    _all: list[Setup] = field(init=False)
    _of_session: dict[int, int] = field(factory=dict, init=False)
    _updated: dict[int, int] = field(factory=dict, init=False)
    _changes: dict[int, Change] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._all = [self.first]

    @property
    def agent_name(self) -> str:
        """Whose call it is now."""
        return self._all[self.serving].agent_name

    # --- what is asked

    def switch_voice(self, voice: str, change: Change) -> ChangeAsked:
        """Another voice for the agent that serves."""
        serving = self._all[self.serving]
        return self._asked(evolve(serving, session=evolve(serving.session, voice=voice)), change)

    def hand_off(self, agent: Agent, change: Change) -> ChangeAsked:
        """Another agent; without a voice or a language of its own it has those of the one before."""
        serving = self._all[self.serving]
        setup = Setup(agent_name=agent.name, session=agent.session(serving.session), toolbox=agent.toolbox)
        note = self.wording.hand_off.format(before=serving.agent_name, after=agent.name)
        return self._asked(setup, change, note)

    def _asked(self, setup: Setup, change: Change, note: str = "") -> ChangeAsked:
        number = len(self._all)
        voice_changes = setup.session.voice != self._all[self.serving].session.voice
        self._all.append(setup)
        self._changes[number] = change
        return ChangeAsked(number, voice_changes, note, reply=bool(note))

    # --- what happens

    def opened(self, session: int, number: int) -> Setup:
        """Session `session` is opened with setup `number`."""
        self._of_session[session] = number
        return self._all[number]

    def updated(self, session: int, number: int) -> Setup:
        """Session `session` is given setup `number`, which holds for it once that is reported."""
        self._updated[number] = session
        return self._all[number]

    def toolbox(self, session: int) -> Mapping[str, Tool]:
        """The tools of a session's agent."""
        return self._all[self._of_session.get(session, self.serving)].toolbox

    def report(self, command: ReportChange) -> None:
        """Tell who asked what came of it."""
        session = self._updated.get(command.change)
        if command.failure is None:
            self.serving = command.change
            if session is not None:
                self._of_session[session] = command.change
        change = self._changes.pop(command.change, None)
        if change is not None:
            change.end(command.failure)
