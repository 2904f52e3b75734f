"""Lives a recorded call again, and compares. Pure: a journal's lines in, a verdict out.

The events go into a fresh `Call` at their recorded moments, the deadlines act at theirs, and what the state machine commands is
compared with what it commanded then, field by field. Audio is compared byte by byte where the journal knows it: where it was
kept, and where a whole piece was handed on; of a part of a piece only the size is known.

The first difference ends a replay: what comes after it follows from it. A deadline is a difference when another one would act
now, or when it is not due. One that would act now and did not act then shows at the next deadline of the journal, or at its end.

A state machine that fails does so again: then and now the shell's guard tells it of the failure, as `FatalErrorRaised`, and
closes the call by itself if it fails at that too.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import attrs
from attrs import define, field, frozen

from trio_voice.core.call import Call
from trio_voice.core.commands import Close, Command
from trio_voice.core.events import CallerAudio, FatalErrorRaised, ModelAudio
from trio_voice.storage.journal import Header
from trio_voice.storage.journal_reader import (
    CommandLine,
    EventLine,
    GapLine,
    JournalReader,
    Line,
    RemarkLine,
    TimerLine,
    UnknownLine,
)

CONTEXT_LINES = 4
ALARM_LATE_S = 1.0
"""A deadline that is due at the end of a journal that was cut off is none that was missed, unless it is as late as this."""
NOTHING = "nothing"
CRC_BYTES = 4


class Verdict(Enum):
    """What a replay found."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """Lines are missing in the middle: up to there it is the same, what follows cannot be judged."""


@frozen
class Difference:
    """Where then and now part. `expected` is what the journal has, `got` what the state machine does now."""

    line: int
    t: float
    expected: str
    got: str
    context: tuple[str, ...] = ()
    """The lines of the journal that lead there, and the line itself, as they stand."""


@frozen
class Replayed:
    """The outcome. `ended`: the call was followed to its `Close`."""

    verdict: Verdict
    events: int
    timers: int
    commands: int
    last_t: float
    ended: bool
    difference: Difference | None = None


def call_from(header: Header) -> Call:
    """A fresh call as it was when the journal began."""
    sounds = (header.comfort, header.beep)
    return Call(header.settings, header.wording, header.apology, header.marks, header.bytes_per_ms, *sounds)


def replay(journal: JournalReader, until_s: float | None = None) -> Replayed:
    """Replay a whole journal, or its lines up to `until_s`. Raises UserError for a journal that cannot be read."""
    replaying = Replay(journal.header)
    for line in journal:
        if until_s is not None and line.t > until_s:
            return replaying.finish(whole=True)
        if replaying.over:
            break
        replaying.take(line)
    return replaying.finish()


@define
class Replay:
    """One journal, line by line: `take` each of them until `over`, then `finish`."""

    header: Header
    call: Call = field(init=False)
    events: int = field(default=0, init=False)
    timers: int = field(default=0, init=False)
    commands: int = field(default=0, init=False)
    _difference: Difference | None = field(default=None, init=False)
    _gap: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _due: deque[Command] = field(factory=deque, init=False)
    """What was commanded now and has not been met in the journal yet."""
    _met: int = field(default=0, init=False)
    """How many commands of the present event or deadline have been met."""
    _failure: str | None = field(default=None, init=False)
    _fatal: bool = field(default=False, init=False)
    """The present event tells of a failure."""
    _heard: set[bytes] = field(factory=set, init=False)
    """The CRC-32 of every piece of audio that came in: the stand-in of a piece begins with it."""
    _recent: deque[str] = field(factory=lambda: deque(maxlen=CONTEXT_LINES), init=False)
    _last: Line | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.call = call_from(self.header)

    @property
    def over(self) -> bool:
        """Nothing more can be found out."""
        return self._difference is not None or self._gap

    def take(self, line: Line) -> None:
        """Take the next line in."""
        self._last = line
        self._recent.append(line.text)
        if isinstance(line, CommandLine):
            self._meet(line)
        elif isinstance(line, GapLine):
            self._gap = True
        elif not isinstance(line, RemarkLine):
            self._settle_accounts(line)
            if self._difference is None:
                self._live(line)

    def finish(self, *, whole: bool = False) -> Replayed:
        """Judge. `whole`: the last event or deadline is known to have all its commands."""
        if not self.over and self._last is not None:
            self._judge_the_end(self._last, whole=whole or self._ended)
        verdict = Verdict.UNKNOWN if self._gap else Verdict.SAME
        if self._difference is not None:
            verdict = Verdict.DIFFERENT
        last_t = 0.0 if self._last is None else self._last.t
        return Replayed(verdict, self.events, self.timers, self.commands, last_t, self._ended, self._difference)

    # --- causes

    def _live(self, line: Line) -> None:
        self._met = 0
        if isinstance(line, EventLine):
            self.events += 1
            if isinstance(line.event, CallerAudio | ModelAudio):
                self._heard.add(line.event.audio[:CRC_BYTES])
            self._act(line)
        elif isinstance(line, TimerLine):
            self.timers += 1
            timer, due_at = self.call.next_timer(), self.call.next_deadline()
            if timer is not line.timer or due_at is None or due_at > line.t:
                self._differ(line, f"the deadline {line.timer.value}", self._next_deadline())
            else:
                self._act(line)
        elif isinstance(line, UnknownLine):
            self._differ(line, line.text, line.problem)

    def _act(self, line: EventLine | TimerLine) -> None:
        try:
            if isinstance(line, EventLine):
                self._due = deque(self.call.receive(line.event, line.t))
            else:
                self._due = deque(self.call.handle_timer(line.t))
        except Exception as error:  # the same guard as around a task of a live call: whatever failed then fails here
            self._due = deque()
            self._failure = f"the state machine fails: {type(error).__name__}: {error}"

    # --- commands

    def _meet(self, line: CommandLine) -> None:
        self.commands += 1
        self._met += 1
        if not self._due:
            if not self._closed_by_the_shell(line.command):
                self._differ(line, repr(line.command), self._failure or NOTHING)
            return
        got = self._due.popleft()
        if line.command != got and not self._may_be_the_same(line, got):
            self._differ(line, repr(line.command), _shown_beside(got, line.command))
        self._ended = self._ended or isinstance(line.command, Close)

    def _closed_by_the_shell(self, command: Command) -> bool:
        """The state machine failed at the news of its own failure: then the shell closes the call, as it did then."""
        if self._failure is None or not self._fatal or not isinstance(command, Close):
            return False
        self._failure = None
        self._ended = True
        return True

    def _may_be_the_same(self, line: CommandLine, got: Command) -> bool:
        """Equal but for a part of a piece of audio, of which only the size is known."""
        if line.exact or type(got) is not type(line.command):
            return False
        then, now = attrs.asdict(line.command, recurse=False), attrs.asdict(got, recurse=False)
        return all(
            len(content) == len(now[name]) and content[:CRC_BYTES] not in self._heard
            if isinstance(content, bytes)
            else content == now[name]
            for name, content in then.items()
        )

    def _settle_accounts(self, line: Line) -> None:
        """The next event or deadline is here: everything that was commanded before must have been met."""
        self._fatal = isinstance(line, EventLine) and isinstance(line.event, FatalErrorRaised)
        if self._failure is not None and not (self._fatal and not self._met):
            self._differ(line, line.text, self._failure)
        elif self._due and not (self._fatal and self._met):  # a shell that failed at a command did not come to the next
            self._differ(line, f"no more commands before {line.text}", repr(self._due[0]))
        self._failure = None

    # --- the end

    def _judge_the_end(self, last: Line, *, whole: bool) -> None:
        due_at = self.call.next_deadline()
        if self._failure is not None:
            self._differ(last, "the end of the journal", self._failure)
        elif self._due and whole:
            self._differ(last, "no more commands", repr(self._due[0]))
        elif due_at is not None and due_at + ALARM_LATE_S < last.t:
            self._differ(last, "the end of the journal", self._next_deadline())

    def _next_deadline(self) -> str:
        timer, due_at = self.call.next_timer(), self.call.next_deadline()
        return "no deadline" if timer is None or due_at is None else f"the deadline {timer.value}, due at {due_at:.6f} s"

    def _differ(self, line: Line, expected: str, got: str) -> None:
        self._difference = Difference(line.number, line.t, expected, got, tuple(self._recent))


def _shown_beside(got: Command, expected: Command) -> str:
    return f"{got!r} with other audio" if repr(got) == repr(expected) else repr(got)
