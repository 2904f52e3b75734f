"""Draws a call's lanes with matplotlib, in rows of half a minute like a score, so that a long call stays readable."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import define, frozen
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from trio_voice.storage.timeline_lanes import Lanes, Point, Response, Text, Tone, Turn

SAMPLE_RATE_HZ = 8000
_DPI = 130
_WIDTH_IN = 16.0
_LEFT_IN, _RIGHT_IN = 1.05, 0.2
_HEAD_IN, _ROW_IN, _ROW_GAP_IN = 0.75, 3.1, 0.45
_SHORTEST_ROW_S, _LONGEST_ROW_S, _USUAL_ROW_S, _MOST_ROWS = 8, 40, 30, 12
_TEXT_LINES, _LABEL_LINES = 3, 3
_NEAR_S = 0.03
_GAP_PX = 8.0
_HINTING = 1.06  # letters are set on whole pixels, so that a line is a little wider than its outline
_NARROW = 0.12  # of a row: less room than this at its end, and a text that goes on begins in the next row

# Okabe and Ito's palette: told apart by colour-blind eyes too
_BLUE, _GREEN, _RED, _ORANGE, _PURPLE, _SKY = "#0072B2", "#009E73", "#D55E00", "#E69F00", "#8F4B8F", "#56B4E9"
_GREY, _PALE, _INK = "#777777", "#C8C8C8", "#222222"
_TONES = {Tone.CUT: _RED, Tone.REFUSED: _GREY, Tone.TIMER: _ORANGE, Tone.PLAIN: _INK, Tone.FAULT: _PURPLE}
_STATUS = {"completed": _GREEN, "cancelled": _RED, "failed": _PURPLE, "incomplete": _ORANGE, None: _SKY}
_TEXT_FONT = FontProperties(size=7.5)
_LABEL_FONT = FontProperties(size=6.5)


@frozen
class _Lane:
    """A horizontal band of a row, from `bottom` to `top`; the row's y axis counts in these heights."""

    name: str
    bottom: float
    top: float

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2

    def line(self, number: int, of: int) -> float:
        """Return the middle of text line `number`, counted from the top."""
        return self.top - (number + 0.5) * (self.top - self.bottom) / of


def _stack(*heights: tuple[str, float]) -> dict[str, _Lane]:
    lanes, top = {}, sum(height for _, height in heights)
    for name, height in heights:
        lanes[name] = _Lane(name, top - height, top)
        top -= height
    return lanes


_LANES = _stack(
    ("caller says", 0.95),
    ("caller", 1.0),
    ("agent", 1.0),
    ("agent says", 0.95),
    ("turns", 0.45),
    ("responses", 0.45),
    ("decisions", 0.95),
    ("marks", 0.4),
    ("timers, events", 0.95),
)
_TOP = max(lane.top for lane in _LANES.values())


def draw_lanes(lanes: Lanes, caller_heard_pcm: bytes, caller_said_pcm: bytes, target: Path) -> None:
    """Draw into `target`; the recordings are signed 16-bit PCM at 8000 Hz, or empty."""
    with warnings.catch_warnings():  # words in a script that the font lacks are drawn as boxes: no reason to stop
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure_of(lanes, caller_heard_pcm, caller_said_pcm).savefig(target)


def figure_of(lanes: Lanes, caller_heard_pcm: bytes, caller_said_pcm: bytes) -> Figure:
    """Lay the picture out: one axes a row."""
    heard, said = (np.frombuffer(pcm, "<i2") for pcm in (caller_heard_pcm, caller_said_pcm))
    end_s = max(lanes.end_s, len(heard) / SAMPLE_RATE_HZ, len(said) / SAMPLE_RATE_HZ)
    row_s = _row_seconds(end_s)
    count = max(1, math.ceil(end_s / row_s))
    figure = Figure(figsize=(_WIDTH_IN, _HEAD_IN + count * (_ROW_IN + _ROW_GAP_IN)), dpi=_DPI)
    FigureCanvasAgg(figure)
    rows = [_Row(_axes(figure, number, count), number * row_s, row_s, end_s) for number in range(count)]
    _head(figure, lanes, end_s)
    rows[-1].axes.set_xlabel("seconds since the answer", fontsize=7, color=_GREY, loc="right", labelpad=1)
    for row in rows:
        row.frame()
        row.wave(_LANES["caller"], said, _BLUE)
        row.wave(_LANES["agent"], heard, _GREEN)
        if not len(heard):
            row.bars(_LANES["agent"], lanes.playing, _GREEN)
        row.bars(_LANES["agent"], lanes.unheard, _PALE, height=0.3)
        row.turns(lanes.turns)
        row.responses(lanes.responses)
        row.barge_ins(lanes.barge_ins_s)
        row.points(_LANES["decisions"], lanes.decisions)
        row.marks([(mark.at_s, mark.echoed) for mark in lanes.marks])
        row.points(_LANES["timers, events"], lanes.moments)
    for lane, texts, colour in (("caller says", lanes.caller_texts, _BLUE), ("agent says", lanes.agent_texts, _GREEN)):
        _write_texts(rows, _LANES[lane], texts, colour)
    return figure


def _row_seconds(end_s: float) -> int:
    if end_s <= _LONGEST_ROW_S:
        return max(_SHORTEST_ROW_S, math.ceil(end_s))
    rows = min(math.ceil(end_s / _USUAL_ROW_S), _MOST_ROWS)
    return math.ceil(end_s / rows)


def _axes(figure: Figure, number: int, count: int) -> Axes:
    height_in = _HEAD_IN + count * (_ROW_IN + _ROW_GAP_IN)
    bottom_in = height_in - _HEAD_IN - number * (_ROW_IN + _ROW_GAP_IN) - _ROW_IN
    width_in = _WIDTH_IN - _LEFT_IN - _RIGHT_IN
    return figure.add_axes((_LEFT_IN / _WIDTH_IN, bottom_in / height_in, width_in / _WIDTH_IN, _ROW_IN / height_in))


def _head(figure: Figure, lanes: Lanes, end_s: float) -> None:
    height_in = figure.get_figheight()
    header = lanes.header
    names = [str(header[key]) for key in ("call_id", "call_sid", "started_at") if key in header]
    title = " · ".join([*(["call", *names] if names else ["call"]), f"{end_s:.1f} s"])
    left = _LEFT_IN / _WIDTH_IN
    figure.text(left, 1 - 0.22 / height_in, title, fontsize=10, weight="bold", color=_INK, va="center", parse_math=False)
    handles = [
        Patch(color=_SKY, label="caller's turn"),
        Line2D([], [], color=_BLUE, marker="v", linestyle="", markersize=5, label="committed"),
        Patch(facecolor="white", edgecolor=_GREY, hatch="////", label="requested"),
        Patch(color=_GREEN, label="completed"),
        Patch(color=_RED, label="cancelled, cut"),
        Patch(color=_PALE, label="not heard"),
        Patch(color=_PURPLE, label="failed"),
        Patch(color=_ORANGE, label="timer, incomplete"),
        Line2D([], [], color=_GREY, marker="|", linestyle="", markersize=6, label="mark sent"),
        Line2D([], [], color=_INK, marker=".", linestyle="", markersize=5, label="mark echoed"),
    ]
    anchor = (left - 0.006, 1 - 0.34 / height_in)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=anchor, ncol=len(handles), fontsize=7, frameon=False, columnspacing=1.4
    )


@define
class _Row:
    """One row of the picture: `row_s` seconds from `begin_s` on."""

    axes: Axes
    begin_s: float
    row_s: float
    call_end_s: float

    @property
    def end_s(self) -> float:
        return self.begin_s + self.row_s

    @property
    def pixels_a_second(self) -> float:
        return float(self.axes.get_position().width * _WIDTH_IN * _DPI / self.row_s)

    def seconds_of(self, text: str, font: FontProperties) -> float:
        """Return how wide a text is, on the time axis."""
        width_points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
        return width_points * _HINTING / 72 * _DPI / self.pixels_a_second

    def holds(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s

    def frame(self) -> None:
        axes = self.axes
        axes.set_xlim(self.begin_s, self.end_s)
        axes.set_ylim(0, _TOP)
        step = 1 if self.row_s <= _LONGEST_ROW_S else 10
        axes.set_xticks(np.arange(math.ceil(self.begin_s), self.end_s + 0.5, step))
        axes.tick_params(axis="x", labelsize=7, length=2, color=_GREY, labelcolor=_GREY)
        axes.set_yticks([lane.middle for lane in _LANES.values()], list(_LANES))
        axes.tick_params(axis="y", labelsize=7.5, length=0, labelcolor=_INK)
        axes.grid(visible=True, axis="x", color="#E8E8E8", linewidth=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color(_PALE)
        for lane in _LANES.values():
            axes.axhline(lane.bottom, color=_PALE, linewidth=0.5)
        if self.holds(self.call_end_s):
            axes.axvspan(self.call_end_s, self.end_s, color="#F4F4F4", zorder=0)

    def wave(self, lane: _Lane, samples: npt.NDArray[np.int16], colour: str) -> None:
        begin, end = (round(edge * SAMPLE_RATE_HZ) for edge in (self.begin_s, self.end_s))
        part = samples[begin:end].astype(np.float64)
        if not len(part):
            return
        loudest = max(float(np.percentile(np.abs(samples), 99.9)), 1000.0)
        width = max(1, round(SAMPLE_RATE_HZ / self.pixels_a_second))
        columns = np.pad(part, (0, -len(part) % width)).reshape(-1, width)
        at = (begin + np.arange(len(columns)) * width) / SAMPLE_RATE_HZ
        scale = 0.46 * (lane.top - lane.bottom) / loudest
        low, high = (np.clip(edge * scale, -0.48, 0.48) + lane.middle for edge in (columns.min(axis=1), columns.max(axis=1)))
        self.axes.fill_between(at, low, high, color=colour, linewidth=0.4)

    def bars(
        self, lane: _Lane, spans: Iterable[tuple[float, float]], colour: str, *, height: float = 0.6, hatched: bool = False
    ) -> None:
        band = height * (lane.top - lane.bottom)
        for begin_s, end_s in spans:
            if end_s > self.begin_s and begin_s < self.end_s:
                left, right = max(begin_s, self.begin_s), min(end_s, self.end_s)
                self.axes.broken_barh(
                    [(left, max(right - left, 1.5 / self.pixels_a_second))],
                    (lane.middle - band / 2, band),
                    facecolor="white" if hatched else colour,
                    edgecolor=colour,
                    hatch="//////" if hatched else None,
                    linewidth=0.6,
                )

    def turns(self, turns: Sequence[Turn]) -> None:
        lane = _LANES["turns"]
        self.bars(lane, [(turn.started_s, turn.stopped_s or self.call_end_s) for turn in turns], _SKY)
        committed = [turn.committed_s for turn in turns if turn.committed_s is not None and self.holds(turn.committed_s)]
        self.axes.plot(
            committed, [lane.middle] * len(committed), color=_BLUE, marker="v", linestyle="", markersize=5, clip_on=False
        )

    def responses(self, responses: Sequence[Response]) -> None:
        lane = _LANES["responses"]
        for number, response in enumerate(responses):
            done_s = self.call_end_s if response.done_s is None else response.done_s
            if response.requested_s is not None:
                until_s = done_s if response.created_s is None else response.created_s
                self.bars(lane, [(response.requested_s, until_s)], _GREY, height=0.7, hatched=True)
            if response.created_s is not None:
                colour = _PALE if _in_vain(response) else _STATUS.get(response.status, _GREY)
                self.bars(lane, [(response.created_s, done_s)], colour, height=0.7)
            if self.holds(response.began_s):
                later = responses[number + 1].began_s if number + 1 < len(responses) else math.inf
                self._name(lane, response, done_s, later)

    def _name(self, lane: _Lane, response: Response, done_s: float, later_s: float) -> None:
        """Write a response's purpose behind it, or over it where it is long enough."""
        name = response.purpose + ("" if response.status in {"completed", None} else f", {response.status}")
        width_s, gap_s = self.seconds_of(name, _LABEL_FONT), _GAP_PX / 2 / self.pixels_a_second
        inside_from = response.began_s if response.created_s is None else response.created_s
        if done_s - inside_from > width_s + 2 * gap_s and inside_from + width_s < self.end_s:
            on_colour = response.created_s is not None and not _in_vain(response)
            self._text(inside_from + gap_s, lane.middle, name, "white" if on_colour else _INK, _LABEL_FONT)
        elif min(later_s, self.end_s) - done_s > width_s + 2 * gap_s:
            self._text(done_s + gap_s, lane.middle, name, _INK, _LABEL_FONT)

    def barge_ins(self, moments_s: Iterable[float]) -> None:
        for at_s in moments_s:
            if self.holds(at_s):
                top, bottom = _LANES["caller"].top, _LANES["decisions"].bottom
                self.axes.plot([at_s, at_s], [bottom, top], color=_RED, linewidth=1.0, linestyle=(0, (4, 2)))

    def marks(self, marks: Sequence[tuple[float, bool]]) -> None:
        lane = _LANES["marks"]
        for echoed, marker, colour, size, up in ((False, "|", _GREY, 6, 0.1), (True, ".", _INK, 4, -0.1)):
            at = [at_s for at_s, is_echo in marks if is_echo is echoed and self.holds(at_s)]
            self.axes.plot(at, [lane.middle + up] * len(at), color=colour, marker=marker, linestyle="", markersize=size)

    def points(self, lane: _Lane, points: Sequence[Point]) -> None:
        """Draw a tick for every point, and its label on the first of three lines that has room (none: no label)."""
        ends = [-math.inf] * _LABEL_LINES
        gap_s = _GAP_PX / self.pixels_a_second
        for group in _near(point for point in points if self.holds(point.at_s)):
            first = group[0]
            colour = _TONES[first.tone]
            label = " · ".join(dict.fromkeys(point.label for point in group))
            width_s = self.seconds_of(label, _LABEL_FONT)
            behind = first.at_s + gap_s / 2
            at_s = behind if behind + width_s < self.end_s else first.at_s - gap_s / 2 - width_s
            self.axes.plot([first.at_s] * 2, [lane.bottom, lane.top], color=colour, linewidth=0.8)
            for number, end_s in enumerate(ends):
                if end_s + gap_s / 2 <= min(at_s, first.at_s):
                    ends[number] = max(at_s + width_s, first.at_s)
                    self._text(at_s, lane.line(number, _LABEL_LINES), label, colour, _LABEL_FONT)
                    break

    def words(self, lane: _Lane, at_s: float, until_s: float, words: list[str], *, last: bool, colour: str) -> list[str]:
        """Write as many words as there is room for on three lines; return the rest (none of it if nothing can follow)."""
        room_s = until_s - at_s - _GAP_PX / self.pixels_a_second
        lines: list[str] = []
        while words and len(lines) < _TEXT_LINES:
            taken = 1
            while taken < len(words) and self.seconds_of(" ".join(words[: taken + 1]), _TEXT_FONT) <= room_s:
                taken += 1
            lines.append(" ".join(words[:taken]))
            words = words[taken:]
        if words and last:
            lines[-1], words = lines[-1] + " …", []
        for number, line in enumerate(lines):
            self._text(at_s, lane.line(number, _TEXT_LINES), self._fitting(line, room_s), colour, _TEXT_FONT)
        return words

    def _fitting(self, line: str, room_s: float) -> str:
        while len(line) > 1 and self.seconds_of(line, _TEXT_FONT) > room_s:
            line = line.rstrip("… ")[:-1] + "…"
        return line

    def _text(self, at_s: float, y: float, text: str, colour: str, font: FontProperties) -> None:
        box = None if colour == "white" else {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
        self.axes.text(
            at_s, y, text, color=colour, fontproperties=font, va="center", ha="left", parse_math=False, clip_on=False, bbox=box
        )


def _in_vain(response: Response) -> bool:
    """The model completed it, but nobody heard it."""
    return response.unheard and response.status == "completed"


def _near(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Group points of one tone that happened at the same moment."""
    group: list[Point] = []
    for point in sorted(points, key=lambda point: point.at_s):
        if group and (point.at_s - group[0].at_s > _NEAR_S or point.tone is not group[0].tone):
            yield group
            group = []
        group.append(point)
    if group:
        yield group


def _write_texts(rows: Sequence[_Row], lane: _Lane, texts: Sequence[Text], colour: str) -> None:
    """Write each text from where it began up to where the next one begins, over as many rows as it takes."""
    for number, text in enumerate(texts):
        until_s = texts[number + 1].at_s if number + 1 < len(texts) else rows[-1].end_s
        words, at_s = text.text.split(), text.at_s
        for row in rows:
            if words and row.begin_s <= at_s < row.end_s:
                if until_s > row.end_s > at_s > row.end_s - _NARROW * row.row_s:
                    at_s = row.end_s
                    continue
                last = until_s <= row.end_s
                words = row.words(lane, at_s, min(until_s, row.end_s), words, last=last, colour=_GREY if text.unheard else colour)
                at_s = row.end_s
