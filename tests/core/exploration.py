"""Every sequence of events over a small alphabet, breadth first, states that only differ in names and dates merged.

A state is the watched call (`checked.Checked`) as it is, copied field by field. Two states are the same when their fingerprints
are: times count from now, the current response, the one before it and the caller's last utterance go by their roles, and what
only grows (counters, marks' names, memories of what is over) is left out.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from random import Random
from typing import Any

import attrs
from attrs import define, field

from tests.core.checked import Checked
from trio_voice.audio.floor import NoiseFloor
from trio_voice.core import events as e
from trio_voice.core.deadlines import Timer
from trio_voice.core.echo import EchoGuard
from trio_voice.core.lifeline import Lifeline
from trio_voice.core.model import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE
from trio_voice.core.states import CallState

AUDIO = b"a" * 1600  # 200 ms


@define
class World:
    """A watched call and the names that come next."""

    checked: Checked
    responses: int = 0
    turns: int = 0
    tools: int = 0
    changes: int = 0
    previous: str = "r0"
    path: tuple[str, ...] = field(default=(), eq=False)

    @property
    def session(self) -> int:
        return self.checked.call.parts.standing.session or self.checked.opened

    @property
    def current(self) -> str:
        return self.checked.active or f"r{self.responses}"


Letter = Callable[[World], bool]
"""Something that happens; False when it cannot happen now."""


def said(make: Callable[[World], e.Event | None]) -> Letter:
    def happen(world: World) -> bool:
        event = make(world)
        if event is not None:
            world.checked.receive(event)
        return event is not None

    return happen


def deadline(world: World) -> bool:
    if world.checked.call.next_deadline() is None:
        return False
    world.checked.ring()
    return True


def pause(world: World) -> bool:
    world.checked.wait(0.1)
    return True


def speaks(world: World) -> e.Event:
    world.turns += 1
    return e.SpeechStarted(world.session, f"u{world.turns}")


def begins(world: World) -> e.Event:
    world.previous = world.current
    world.responses += 1
    return e.ResponseCreated(world.session, f"r{world.responses}", world.checked.requested)


def calls_a_tool(world: World) -> e.Event:
    world.tools += 1
    return e.ToolCalled(world.session, world.current, f"f{world.tools}", f"t{world.tools}", "look", "{}")


def changes(world: World) -> e.Event:
    world.changes += 1
    return e.ChangeAsked(world.changes, note="a note", reply=True)


def mark(world: World) -> e.Event | None:
    pending = world.checked.call.parts.playback._pending
    return e.PlaybackMarked(pending[0].name) if pending else None


def create_failed(world: World) -> e.Event | None:
    requested = world.checked.requested
    return e.SendFailed(world.session, f"create-{requested}") if requested is not None else None


def done(status: e.ResponseStatus) -> Letter:
    return said(lambda world: e.ResponseDone(world.session, world.current, status))


ALPHABET: Mapping[str, Letter] = {
    "start": said(lambda world: e.CallStarted("CA1")),
    "deadline": deadline,
    "pause": pause,
    "speaks": said(speaks),
    "silent": said(lambda world: e.SpeechStopped(world.session, f"u{world.turns}")),
    "commit": said(lambda world: e.TurnCommitted(world.session, f"u{world.turns}")),
    "begins": said(begins),
    "audio": said(lambda world: e.ModelAudio(world.session, world.current, f"{world.current}i1", AUDIO)),
    "audio of another item": said(lambda world: e.ModelAudio(world.session, world.current, f"{world.current}i2", AUDIO)),
    "late audio": said(lambda world: e.ModelAudio(world.session, world.previous, f"{world.previous}i1", AUDIO)),
    "done": done(e.ResponseStatus.COMPLETED),
    "failed": done(e.ResponseStatus.FAILED),
    "late done": said(lambda world: e.ResponseDone(world.session, world.previous, e.ResponseStatus.CANCELLED)),
    "mark": said(mark),
    "not active": said(lambda world: e.ModelErred(world.session, CANCEL_NOT_ACTIVE, "no active response found")),
    "blocked": said(lambda world: e.ModelErred(world.session, ALREADY_ACTIVE, "one is active")),
    "blocked by name": said(lambda world: e.ModelErred(world.session, ALREADY_ACTIVE, f"in progress: resp_{world.responses}.")),
    "cancel unsent": said(lambda world: e.SendFailed(world.session, f"cancel-{world.current}")),
    "create unsent": said(create_failed),
    "lost": said(lambda world: e.SessionLost(world.session, "gone")),
    "ready": said(lambda world: e.SessionReady(world.checked.opened)),
    "tool": said(calls_a_tool),
    "tool done": said(lambda world: e.ToolFinished(f"t{world.tools}", "7")),
    "change": said(changes),
    "changed": said(lambda world: e.ChangeApplied(world.session, world.changes) if world.changes else None),
    "change refused": said(lambda world: e.ChangeRefused(world.session, world.changes, "no") if world.changes else None),
    "text": said(lambda world: e.TextInjected("x")),
    "keys": said(lambda world: e.DigitPressed("#")),
    "hang up": said(lambda world: e.HangUpAsked("done")),
    "fatal": said(lambda world: e.FatalErrorRaised("bug")),
    "caller gone": said(lambda world: e.CallerHungUp("stop")),
}

DEEP = ("deadline", "speaks", "silent", "commit", "begins", "audio", "done", "mark", "lost", "ready", "hang up", "not active")
"""The letters of an ordinary conversation and its races: few enough to go deep."""


def after(world: World, *letters: str) -> World:
    """The world when these have happened."""
    for name in letters:
        assert ALPHABET[name](world), name
        world.path = (*world.path, name)
    return world


def explore(
    start: World, letters: Mapping[str, Letter], depth: int, *, enough: Callable[[], bool] = lambda: False
) -> Iterator[int]:
    """Go through all states, level by level; yields the number of new states of each. Stops early when there are enough."""
    seen = {fingerprint(start)}
    level = [start]
    for _ in range(depth):
        following: list[World] = []
        for world in level:
            if enough():
                return
            for name, letter in letters.items():
                after = step(world, name, letter)
                if after is None:
                    continue
                mark_of_it = fingerprint(after)
                if mark_of_it not in seen:
                    seen.add(mark_of_it)
                    following.append(after)
        yield len(following)
        level = [world for world in following if world.checked.call.state is not CallState.CLOSED]


_OFTEN = dict.fromkeys(("deadline", "pause", "speaks", "silent", "commit", "begins", "audio", "done", "mark"), 2.0)
_SELDOM = {"caller gone": 0.05, "fatal": 0.05, "hang up": 0.1, "lost": 0.4}


def walk(world: World, random: Random, steps: int) -> None:
    """One long way through the states; then both peers fall silent, and the call comes to its end by itself."""
    weights = [(_OFTEN | _SELDOM).get(name, 0.7) for name in ALPHABET]
    for name in random.choices(list(ALPHABET), weights, k=steps):
        world.path = (*world.path, name)
        try:
            ALPHABET[name](world)
        except Exception as error:
            raise AssertionError(" / ".join(world.path)) from error
    call = world.checked.call
    for _ in range(3000):
        if call.next_deadline() is None:
            break
        world.checked.ring()
    ended = call.state is CallState.CLOSED or (call.settings.idle_s == 0 and call.lifeline() is Lifeline.THE_CALLERS_TURN)
    assert ended, " / ".join(world.path)


def step(world: World, name: str, letter: Letter) -> World | None:
    """What follows from a letter; None when it cannot happen. An error tells the path that led to it."""
    after: World = clone(world, {})
    after.path = (*world.path, name)
    try:
        return after if letter(after) else None
    except Exception as error:
        raise AssertionError(" / ".join(after.path)) from error


# --- copies


def clone(value: Any, memo: dict[int, Any]) -> Any:
    """A copy that shares what cannot change (or does not in an exploration: nobody hears a caller's frame)."""
    kind: type[Any] = type(value)
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = _fields_of(kind)
    if names is _SHARED:
        return value
    if names is _CONTAINER:
        if kind is list:
            return [clone(inner, memo) for inner in value]
        if kind is deque:
            return deque([clone(inner, memo) for inner in value], value.maxlen)
        if kind is set:
            return value.copy()
        return kind([(key, clone(inner, memo)) for key, inner in value.items()])
    copy = memo.get(id(value))
    if copy is None:
        memo[id(value)] = copy = object.__new__(kind)
        for name in names:
            inner = getattr(value, name)
            setattr(copy, name, inner if type(inner) in _ATOMS else clone(inner, memo))
    return copy


_SHARED, _CONTAINER = ("shared",), ("container",)
_ATOMS = frozenset({int, float, bool, str, bytes, type(None)})
_FIELDS: dict[type[Any], tuple[str, ...]] = {}


def _fields_of(kind: type[Any]) -> tuple[str, ...]:
    if kind in (list, set, deque, dict, OrderedDict):
        return _CONTAINER
    frozen = "frozen" in kind.__setattr__.__name__
    return _SHARED if not attrs.has(kind) or frozen or kind in (NoiseFloor, EchoGuard) else tuple(attrs.fields_dict(kind))


# --- fingerprints

_WITHOUT_A_FUTURE = """
    settings wording apology history floor echo path story weigh out media_at now number marks responses turns tools
    previous session opened serving asked_for known over cancelled cut cut_last sent_bytes heard_ms truncated deleted
    tools_run tools_answered living name audio _last _generation _mark_count _texts _known _over _next _nobodys _silenced
    _truncated _doomed
"""
_OF_CHANGES = "changes setup wanted _coming_setup requests_before changes_asked changes_told"
LEFT_OUT = frozenset(f"{_WITHOUT_A_FUTURE} {_OF_CHANGES}".split())
TIMES = frozenset({"start_at", "_since", "_cooldown_until", "due_at"})
FAR = frozenset({Timer.MEDIA, Timer.LONGEST_CALL, Timer.LONGEST_CALL_NOTICE, Timer.SESSION_AGE, Timer.CALIBRATION})
_A_NAME = re.compile(r"(r\d+|resp_\d+)(i\d)?|u(\d+)|t(\d+)")


def fingerprint(world: World) -> object:
    """What decides about the future, hashable."""
    call, checked = world.checked.call, world.checked
    guard, tools = call.parts.guard, call.parts.tools
    return (
        summary(world, world, set()),
        guard.verdict(world.previous),
        guard.stopped,
        guard.response_id in guard._over,
        f"t{world.tools}" in tools._known,
        f"u{world.turns}" in call.parts.history,
        call.parts.turn.why_nobodys(f"u{world.turns}"),
        checked.active in checked.cancelled,
        len(checked.asked_for),
        call.parts.retries.number == guard.number,
    )


def summary(value: Any, world: World, open_objects: set[int]) -> object:
    kind: type[Any] = type(value)
    if kind is str:
        return role(value, world)
    if kind in _ATOMS or issubclass(kind, Enum):
        return value
    if kind in (list, deque, tuple):
        return tuple(summary(inner, world, open_objects) for inner in value)
    if kind is set:
        return len(value)
    if kind is e.ChangeAsked:
        return "a change"
    now = world.checked.now
    if kind in (dict, OrderedDict):
        if value and isinstance(next(iter(value)), Timer):
            return frozenset((timer, round(at - now, 6)) for timer, at in value.items() if timer not in FAR)
        return tuple((role(key, world), summary(inner, world, open_objects)) for key, inner in value.items())
    if id(value) in open_objects:
        return None
    open_objects.add(id(value))
    return tuple(
        max(-0.3, round(inner - now, 6)) if name in TIMES and inner is not None else summary(inner, world, open_objects)
        for name in telling(kind)
        for inner in [getattr(value, name)]
    )


_TELLING: dict[type[Any], tuple[str, ...]] = {}


def telling(kind: type[Any]) -> tuple[str, ...]:
    names = _TELLING.get(kind)
    if names is None:
        names = _TELLING[kind] = tuple(name for name in attrs.fields_dict(kind) if name not in LEFT_OUT)
    return names


def role(name: str, world: World) -> str:
    """Names of responses, items and utterances by what they are now."""
    match = _A_NAME.fullmatch(name)
    if match is None:
        return name
    response_id, item, utterance, _ = match.groups()
    if response_id is not None:
        of = "current" if response_id == world.current else "previous" if response_id == world.previous else "old"
        return f"{of} {item or ''}"
    return "last" if utterance == str(world.turns) else "earlier"
