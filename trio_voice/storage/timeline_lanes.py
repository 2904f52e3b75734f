"""What a timeline shows, read from a call's journal: turns, responses, decisions, marks, timers, texts. Pure: text in, lanes out.

Times are seconds since the call began. Lines that cannot be read, and fields that are not there, are passed over: a picture of a
journal that was cut off in mid-line is better than none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from textwrap import shorten
from typing import Any

from attrs import define, field, frozen

BYTES_PER_S = 8000
_DETAIL_CHARACTERS = 40
ROUTINE_TIMERS = frozenset({"calibration", "media", "playback_end", "session_age"})
"""Deadlines that pass in every good call and tell a reader nothing."""


class Tone(Enum):
    """What a point means for the call; each has its colour."""

    CUT = "cut"
    REFUSED = "refused"
    TIMER = "timer"
    PLAIN = "plain"
    FAULT = "fault"


@frozen
class Point:
    """Something that happened at a moment."""

    at_s: float
    label: str
    tone: Tone = Tone.PLAIN


@frozen
class Text:
    """Words, placed where they began to be heard, or would have been."""

    at_s: float
    text: str
    unheard: bool = False


@frozen
class Mark:
    """A playback mark: sent to the carrier, or echoed by it."""

    at_s: float
    name: str
    echoed: bool


@define
class Turn:
    """One utterance of the caller, as the model's voice detector saw it."""

    item_id: str
    started_s: float
    stopped_s: float | None = None
    committed_s: float | None = None


@define
class Response:
    """One reply: asked for (unless the model made it by itself), created, done; None: not yet, or never."""

    purpose: str
    request: int | None = None
    response_id: str | None = None
    requested_s: float | None = None
    created_s: float | None = None
    done_s: float | None = None
    status: str | None = None
    unheard: bool = False
    """Something of it was taken out of the conversation, and nothing of it was heard."""

    @property
    def began_s(self) -> float:
        """When it first appears."""
        return min(moment for moment in (self.requested_s, self.created_s) if moment is not None)


@define
class Lanes:
    """Everything that the picture shows besides sound."""

    header: dict[str, Any] = field(factory=dict)
    end_s: float = 0.0
    turns: list[Turn] = field(factory=list)
    responses: list[Response] = field(factory=list)
    decisions: list[Point] = field(factory=list)
    marks: list[Mark] = field(factory=list)
    moments: list[Point] = field(factory=list)
    caller_texts: list[Text] = field(factory=list)
    agent_texts: list[Text] = field(factory=list)
    barge_ins_s: list[float] = field(factory=list)
    playing: list[tuple[float, float]] = field(factory=list)
    unheard: list[tuple[float, float]] = field(factory=list)
    """When the rest of a reply that was cut off would have been heard."""


def read_lanes(lines: Iterable[str]) -> Lanes:
    """Read a journal, header first."""
    reader = _Reader()
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            reader.take(record)
    return reader.finish()


Fields = Mapping[str, Any]


@define
class _Reader:
    lanes: Lanes = field(factory=Lanes, init=False)
    _event: str = field(default="", init=False)
    _now: float = field(default=0.0, init=False)
    _heard_from: dict[str, float] = field(factory=dict, init=False)
    _would_end: dict[str, float] = field(factory=dict, init=False)
    _cut_at: dict[str, float] = field(factory=dict, init=False)
    _replaced_at: dict[str, float] = field(factory=dict, init=False)
    """When something else was heard in the place of what was cut."""
    _cleared: bool = field(default=False, init=False)
    _items: dict[str, set[str]] = field(factory=dict, init=False)
    """The items of each response."""
    _deleted: set[str] = field(factory=set, init=False)
    _told_at: dict[str, float] = field(factory=dict, init=False)
    _agent_parts: dict[str, str] = field(factory=dict, init=False)
    _agent_whole: set[str] = field(factory=set, init=False)
    _caller_words: dict[str, Text] = field(factory=dict, init=False)

    def take(self, record: Fields) -> None:
        if "journal" in record:
            self.lanes.header = dict(record)
            return
        moment = record.get("t")
        if not isinstance(moment, int | float):
            return
        self._now = float(moment)
        self.lanes.end_s = max(self.lanes.end_s, self._now)
        if isinstance(name := record.get("timer"), str):
            if name in ROUTINE_TIMERS:
                return
            self.point(self.lanes.moments, name.replace("_", " "), Tone.TIMER)
        elif isinstance(name := record.get("event"), str):
            self._event = name
            if name in _EVENTS:
                _EVENTS[name](self, record)
        elif isinstance(name := record.get("command"), str) and name in _COMMANDS:
            _COMMANDS[name](self, record)

    def finish(self) -> Lanes:
        lanes = self.lanes
        for item_id, text in self._agent_parts.items():
            if text.strip():
                lanes.agent_texts += self._heard_and_not(item_id, text.split())
        spans = [(cut_s, self._unheard_until(item_id)) for item_id, cut_s in self._cut_at.items()]
        lanes.unheard = [(begin_s, end_s) for begin_s, end_s in spans if begin_s < end_s]
        for response in lanes.responses:
            items = self._items.get(response.response_id or "", set())
            response.unheard = bool(items & self._deleted) and not any(map(self._was_heard, items))
        lanes.caller_texts = sorted(self._caller_words.values(), key=lambda text: text.at_s)
        lanes.agent_texts.sort(key=lambda text: text.at_s)
        lanes.responses.sort(key=lambda response: response.began_s)
        return lanes

    def _heard_and_not(self, item_id: str, words: list[str]) -> list[Text]:
        """Tell what was heard of a text from what was not, by the share of its time."""
        began_s = self._heard_from.get(item_id)
        if began_s is None:  # it was never handed to the carrier
            return [Text(self._told_at[item_id], " ".join(words), unheard=True)]
        cut_s = self._cut_at.get(item_id)
        if cut_s is None:
            return [Text(began_s, " ".join(words))]
        heard = round(len(words) * (cut_s - began_s) / (self._would_end[item_id] - began_s)) if cut_s > began_s else 0
        parts = [Text(began_s, " ".join(words[:heard])), Text(cut_s, " ".join(words[heard:]), unheard=True)]
        return [part for part in parts if part.text]

    def _unheard_until(self, item_id: str) -> float:
        """Up to where its end would have been, or something else is heard instead."""
        end_s = self._would_end[item_id]
        return min(end_s, self._replaced_at.get(item_id, end_s))

    def _was_heard(self, item_id: str) -> bool:
        began_s = self._heard_from.get(item_id)
        return began_s is not None and self._cut_at.get(item_id) != began_s

    def _cut_off(self) -> None:
        """What was still to be heard now never will be."""
        for item_id, end_s in self._would_end.items():
            if end_s > self._now and item_id not in self._cut_at:
                self._cut_at[item_id] = max(self._now, self._heard_from[item_id])

    def point(self, lane: list[Point], label: str, tone: Tone) -> None:
        lane.append(Point(self._now, label, tone))

    # --- events

    def speech_started(self, record: Fields) -> None:
        self.lanes.turns.append(Turn(str(record.get("item_id")), self._now))

    def speech_stopped(self, record: Fields) -> None:
        for turn in reversed(self.lanes.turns):
            if turn.item_id == record.get("item_id") and turn.stopped_s is None:
                turn.stopped_s = self._now
                return

    def committed(self, record: Fields) -> None:
        for turn in reversed(self.lanes.turns):
            if turn.item_id == record.get("item_id"):
                turn.committed_s = self._now
                return

    def caller_transcribed(self, record: Fields) -> None:
        item_id, text = str(record.get("item_id")), str(record.get("text") or "").strip()
        began = next((turn.started_s for turn in self.lanes.turns if turn.item_id == item_id), self._now)
        if text:
            self._caller_words[item_id] = Text(began, text)

    def agent_transcript(self, record: Fields) -> None:
        item_id, text = str(record.get("item_id")), str(record.get("text") or "")
        self._told_at.setdefault(item_id, self._now)
        if record.get("final") and text:
            self._agent_parts[item_id] = text
            self._agent_whole.add(item_id)
        elif item_id not in self._agent_whole:
            self._agent_parts[item_id] = self._agent_parts.get(item_id, "") + text

    def item_added(self, record: Fields) -> None:
        self._items.setdefault(str(record.get("response_id")), set()).add(str(record.get("item_id")))

    def created(self, record: Fields) -> None:
        request, response_id = record.get("request"), str(record.get("response_id"))
        for response in self.lanes.responses:
            asked_for = response.response_id is None and response.done_s is None
            if asked_for and (request is None or response.request == request):
                response.response_id, response.created_s = response_id, self._now
                return
        self.lanes.responses.append(Response("the model's own", None, response_id, None, self._now))

    def done(self, record: Fields) -> None:
        for response in self.lanes.responses:
            if response.response_id == record.get("response_id"):
                response.done_s, response.status = self._now, str(record.get("status"))
                if record.get("error_code"):
                    self.point(self.lanes.moments, f"failed: {record['error_code']}", Tone.FAULT)

    def erred(self, record: Fields) -> None:
        self.point(self.lanes.moments, f"error: {record.get('code') or record.get('message')}", Tone.FAULT)

    def marked(self, record: Fields) -> None:
        self.lanes.marks.append(Mark(self._now, str(record.get("name")), echoed=True))

    # --- commands

    def create(self, record: Fields) -> None:
        purpose = str(record.get("purpose")).replace("_", " ")
        self.lanes.responses.append(Response(purpose, record.get("request"), None, self._now))

    def play(self, record: Fields) -> None:
        audio = record.get("audio")
        size = audio.get("bytes", 0) if isinstance(audio, dict) else 0
        playing = self.lanes.playing
        goes_on = bool(playing) and playing[-1][1] >= self._now
        if goes_on:
            begin = playing[-1][1]
            playing[-1] = (playing[-1][0], begin + size / BYTES_PER_S)
        else:
            begin = self._now
            playing.append((begin, begin + size / BYTES_PER_S))
        item_id = str(record.get("item_id"))
        self._heard_from.setdefault(item_id, begin)
        self._would_end[item_id] = begin + size / BYTES_PER_S
        self._cut_at.pop(item_id, None)  # it goes on after all
        self._replaced_at.pop(item_id, None)
        if self._cleared or not goes_on:
            self._cleared = False
            for cut_item in self._cut_at:
                self._replaced_at.setdefault(cut_item, begin)

    def hung_up(self, record: Fields) -> None:
        self._cut_off()
        _moment("caller gone", "reason")(self, record)

    def clear(self, _record: Fields) -> None:
        self._cut_off()
        self._cleared = True
        playing = self.lanes.playing
        if playing and playing[-1][1] > self._now:
            playing[-1] = (playing[-1][0], self._now)
        if any(turn.stopped_s is None for turn in self.lanes.turns[-1:]):
            self.lanes.barge_ins_s.append(self._now)
            self.point(self.lanes.decisions, "barge-in", Tone.CUT)
        self.point(self.lanes.decisions, "clear", Tone.CUT)

    def delete(self, record: Fields) -> None:
        self._deleted.add(str(record.get("item_id")))
        self.point(self.lanes.decisions, "delete unheard item", Tone.CUT)

    def discard(self, record: Fields) -> None:
        if self._event == "SpeechStarted":
            self.point(self.lanes.decisions, f"no barge-in: {_words(record)}", Tone.REFUSED)

    def refuse(self, record: Fields) -> None:
        kept = ", waits" if record.get("waits") else ""
        self.point(self.lanes.decisions, f"no response: {_words(record)}{kept}", Tone.REFUSED)

    def mark(self, record: Fields) -> None:
        self.lanes.marks.append(Mark(self._now, str(record.get("name")), echoed=False))


def _words(record: Fields) -> str:
    return str(record.get("reason")).replace("_", " ")


_Taker = Callable[[_Reader, Fields], None]


def _moment(label: str, key: str = "", tone: Tone = Tone.PLAIN) -> _Taker:
    def take(reader: _Reader, record: Fields) -> None:
        detail = shorten(str(record.get(key) or ""), _DETAIL_CHARACTERS, placeholder=" ...") if key else ""
        reader.point(reader.lanes.moments, f"{label}: {detail}" if detail else label, tone)

    return take


def _cut(label: str, key: str = "", unit: str = "") -> _Taker:
    def take(reader: _Reader, record: Fields) -> None:
        reader.point(reader.lanes.decisions, f"{label} {record.get(key)}{unit}" if key else label, Tone.CUT)

    return take


_EVENTS: Mapping[str, _Taker] = {
    "SpeechStarted": _Reader.speech_started,
    "SpeechStopped": _Reader.speech_stopped,
    "TurnCommitted": _Reader.committed,
    "CallerTranscribed": _Reader.caller_transcribed,
    "ModelTranscript": _Reader.agent_transcript,
    "ItemAdded": _Reader.item_added,
    "ResponseCreated": _Reader.created,
    "ResponseDone": _Reader.done,
    "ModelErred": _Reader.erred,
    "PlaybackMarked": _Reader.marked,
    "DigitPressed": _moment("key", "digit"),
    "HangUpAsked": _moment("hang-up asked", "reason"),
    "CallerHungUp": _Reader.hung_up,
    "SessionReady": _moment("session ready"),
    "SessionLost": _moment("session lost", "reason", Tone.FAULT),
    "FatalErrorRaised": _moment("fatal", "reason", Tone.FAULT),
    "ToolCalled": _moment("tool", "name"),
}
_COMMANDS: Mapping[str, _Taker] = {
    "CreateResponse": _Reader.create,
    "PlayAudio": _Reader.play,
    "ClearPlayback": _Reader.clear,
    "CancelResponse": _cut("cancel"),
    "TruncateItem": _cut("truncate at", "heard_ms", " ms"),
    "DeleteItem": _Reader.delete,
    "Discard": _Reader.discard,
    "Refuse": _Reader.refuse,
    "SendMark": _Reader.mark,
    "HangUp": _moment("hang up", "reason"),
    "Close": _moment("close"),
}
