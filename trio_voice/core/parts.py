"""The parts of one call, and the list in which its answer is collected.

Each part knows its own rules and nothing of the others. What an event of one means for the others is written in the modules of
functions beside this one: `cutting` (taking the floor from the agent), `ending` (goodbye, apology, hang-up), `renewal` (the
model's sessions), `switching` (their changes), `model` (its responses), `texts` (what it is to say from outside of the
conversation), `caller` (voice, turns, barge-in). `call` dispatches.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.announcements import Announcements
from trio_voice.core.change import SessionChange
from trio_voice.core.commands import AddText, Command
from trio_voice.core.deadlines import Deadlines
from trio_voice.core.gate import BargeInGate
from trio_voice.core.history import History
from trio_voice.core.idle import IdleClock
from trio_voice.core.items import UnheardItems
from trio_voice.core.jobs import Jobs
from trio_voice.core.keypad import Keypad
from trio_voice.core.playback import Playback
from trio_voice.core.response import Request, ResponseGuard
from trio_voice.core.retries import Retries
from trio_voice.core.sessions import Sessions
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.core.standing import Standing
from trio_voice.core.tools import ToolCalls
from trio_voice.core.turns import CallerTurn


@define
class Parts:
    """See the module's text. `apology`, `comfort` and `beep` are audio in the call's encoding."""

    settings: CallSettings
    wording: Wording
    apology: bytes
    marks: bool
    bytes_per_ms: int
    comfort: bytes = b""
    beep: bytes = b""
    standing: Standing = field(factory=Standing, init=False)
    deadlines: Deadlines = field(factory=Deadlines, init=False)
    guard: ResponseGuard = field(init=False)
    playback: Playback = field(init=False)
    gate: BargeInGate = field(init=False)
    turn: CallerTurn = field(init=False)
    sessions: Sessions = field(init=False)
    change: SessionChange = field(init=False)
    tools: ToolCalls = field(init=False)
    jobs: Jobs = field(init=False)
    retries: Retries = field(init=False)
    announcements: Announcements = field(init=False)
    keypad: Keypad = field(init=False)
    idle: IdleClock = field(init=False)
    items: UnheardItems = field(factory=UnheardItems, init=False)
    history: History = field(factory=History, init=False)
    out: list[Command] = field(factory=list, init=False)
    media_at: float = field(default=0.0, init=False)
    _texts: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        settings, standing, deadlines = self.settings, self.standing, self.deadlines
        self.guard = ResponseGuard(settings, standing, deadlines)
        self.playback = Playback(settings, deadlines, self.marks, self.bytes_per_ms)
        self.gate = BargeInGate(settings, standing)
        self.turn = CallerTurn(settings, standing, deadlines)
        self.sessions = Sessions(settings, standing, deadlines, self.bytes_per_ms)
        self.change = SessionChange(settings, standing, deadlines)
        self.tools = ToolCalls(settings, deadlines)
        self.jobs = Jobs(deadlines)
        self.retries = Retries(settings, deadlines)
        self.announcements = Announcements(settings, deadlines)
        self.keypad = Keypad(settings, deadlines)
        self.idle = IdleClock(settings, deadlines)

    def do(self, *commands: Command) -> None:
        """Add to the answer."""
        self.out.extend(commands)

    def ask(self, request: Request, now: float, *, forced: bool = False) -> None:
        """Ask for a reply: the guard decides."""
        self.do(*self.guard.create(request, now, forced=forced))

    def add_text(self, role: str, text: str, *, remember: bool = True) -> None:
        """Put a message into the serving session's conversation."""
        assert self.standing.session is not None
        self._texts += 1
        command = AddText(self.standing.session, self._texts, role, text)
        if remember:
            self.history.noted(command.event_id, role, text)
        self.do(command)
