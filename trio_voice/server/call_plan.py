"""What all calls of a server have in common: the model, how its sessions are made, and the numbers and sounds of a call."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from attrs import field, frozen

from trio_voice.agent.context import ModelApi
from trio_voice.agent.tool import Tool
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.call_watch import Watch
from trio_voice.server.model import ModelEndpoint
from trio_voice.server.setups import Setup
from trio_voice.server.tool_threads import ToolThreads


@frozen(kw_only=True)
class CallPlan:
    """Everything that calls have in common."""

    endpoint: ModelEndpoint
    session: SessionSettings
    toolbox: Mapping[str, Tool] = field(factory=dict)
    """The tools that the session declares, by their names."""
    agent_name: str = "the agent"
    api: ModelApi = field(factory=lambda: ModelApi(base_url=""))
    """Where agents may ask a text model."""
    threads: ToolThreads = field(factory=ToolThreads)
    settings: CallSettings = field(factory=CallSettings)
    wording: Wording = field(factory=Wording)
    apology: bytes = b""
    comfort: bytes = b""
    """A soft sound for a caller who waits for a model, mu-law."""
    beep: bytes = b""
    """A tone for a caller who is recorded, mu-law; empty: there is none."""
    jitter: Callable[[], float] = random.random
    """Draws a number from 0 to 1: how much of a back-off's second half is waited, so that calls do not come back all at once."""
    version: str = "0"
    keep_audio: bool = False
    start_limit_s: float = 10.0
    """How long a carrier may take from the upgrade to the start of its stream."""
    watches: tuple[Watch, ...] = ()
    """Who measures each call."""

    @property
    def first_setup(self) -> Setup:
        """What the first session of each call is made of."""
        return Setup(agent_name=self.agent_name, session=self.session, toolbox=self.toolbox)

    def pause_s(self, longest_s: float) -> float:
        """Draw a back-off between half of the longest and the longest."""
        return longest_s * (1 + self.jitter()) / 2
