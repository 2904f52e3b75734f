"""The picture's layout: nothing overlaps, nothing is lost that there is room for, long calls get rows."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from trio_voice.storage.timeline_lanes import Lanes, Mark, Point, Response, Text, Tone, Turn
from trio_voice.storage.timeline_picture import draw_lanes, figure_of

LONG = "This is a reply that goes on for a good while, as replies of models do, until somebody interrupts it at last. " * 3


def picture(lanes: Lanes, heard: bytes = b"", said: bytes = b"") -> Figure:
    return figure_of(lanes, heard, said)


def texts(figure: Figure) -> list[list[str]]:
    """Return the texts of each row, in the order in which they were written."""
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def busy(end_s: float) -> Lanes:
    lanes = Lanes({"call_id": "c", "call_sid": "CA"}, end_s)
    for begin in np.arange(1.0, end_s, 7.0):
        begin_s = float(begin)
        lanes.turns.append(Turn("i", begin_s, begin_s + 2, begin_s + 2))
        lanes.responses.append(Response("turn", 1, "r", begin_s + 2, begin_s + 2.2, begin_s + 4, "cancelled"))
        lanes.decisions += [Point(begin_s + 3, f"truncate at {number} ms", Tone.CUT) for number in range(3)]
        lanes.moments += [Point(begin_s + 0.2 * number, "watchdog", Tone.TIMER) for number in range(9)]
        lanes.marks += [Mark(begin_s + 0.1 * number, "m", number % 2 == 0) for number in range(20)]
        lanes.caller_texts.append(Text(begin_s, "A caller's $5 sentence."))
        lanes.agent_texts.append(Text(begin_s + 3, LONG))
        lanes.barge_ins_s.append(begin_s + 3)
    return lanes


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Return every pair of texts of a row that lie on each other (by more than the white around the letters)."""
    figure.canvas.draw()
    found = []
    for axes in figure.axes:
        boxes = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
        for (one, box), (other, other_box) in combinations(boxes, 2):
            width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            if width > 1 and height > 3:
                found.append((one, other))
    return found


@pytest.mark.parametrize("end_s", [10.0, 45.0])
def test_no_text_lies_on_another(end_s: float) -> None:
    figure = picture(busy(end_s))
    assert sum(map(len, texts(figure))) > 10
    assert overlaps(figure) == []


@pytest.mark.parametrize(
    ("end_s", "rows", "row_s"),
    [(0.0, 1, 8), (3.0, 1, 8), (10.2, 1, 11), (40.0, 1, 40), (41.0, 2, 21), (65.3, 3, 22), (180.0, 6, 30), (3600.0, 12, 300)],
)
def test_a_long_call_has_rows_like_a_score(end_s: float, rows: int, row_s: int) -> None:
    figure = picture(Lanes({}, end_s))
    assert [axes.get_xlim() for axes in figure.axes] == [(number * row_s, (number + 1) * row_s) for number in range(rows)]


def test_a_text_goes_on_in_the_next_row_and_no_word_is_lost() -> None:
    words = " ".join(f"w{number}" for number in range(120))
    first, second, third = texts(picture(Lanes({}, 90.0, agent_texts=[Text(20.0, words)])))
    assert len(first) == 3
    assert second
    assert third == []
    assert " ".join(first + second) == words


def test_a_text_that_goes_on_does_not_begin_in_the_last_corner_of_a_row() -> None:
    first, second, *_ = texts(picture(Lanes({}, 90.0, caller_texts=[Text(28.0, "Hello.")])))
    assert (first, second) == ([], ["Hello."])


def test_a_text_that_has_no_room_says_that_it_goes_on() -> None:
    (row,) = texts(picture(Lanes({}, 20.0, agent_texts=[Text(1.0, LONG), Text(6.0, "Short.")])))
    assert len(row) == 4
    assert row[2].endswith("…")
    assert row[3] == "Short."
    (row,) = texts(picture(Lanes({}, 20.0, agent_texts=[Text(1.0, "Unspeakableness"), Text(1.1, "Short.")])))
    assert row == ["…", "Short."]


def test_things_of_one_moment_and_kind_share_a_label() -> None:
    points = [Point(1.0, "clear", Tone.CUT), Point(1.001, "cancel", Tone.CUT), Point(1.002, "clear", Tone.CUT)]
    assert texts(picture(Lanes({}, 5.0, decisions=points))) == [["clear · cancel"]]
    assert texts(picture(Lanes({}, 5.0, decisions=[*points, Point(1.003, "no", Tone.REFUSED)]))) == [["clear · cancel", "no"]]


def test_labels_take_the_line_that_has_room_and_none_if_none_has() -> None:
    points = [Point(1.0 + number / 10, f"watchdog number {number}", Tone.TIMER) for number in range(5)]
    figure = picture(Lanes({}, 8.0, moments=points))
    assert texts(figure) == [[f"watchdog number {number}" for number in range(3)]]
    heights = [text.get_position()[1] for text in figure.axes[0].texts]
    assert heights == sorted(set(heights), reverse=True)


def test_a_label_at_the_end_of_a_row_stands_before_its_moment() -> None:
    (label,) = picture(Lanes({}, 8.0, moments=[Point(7.9, "hang up: the agent said goodbye")])).axes[0].texts
    assert label.get_window_extent().x1 < picture(Lanes({}, 8.0)).axes[0].transData.transform((7.9, 0))[0]


def test_voices_are_drawn_from_the_recordings_or_else_from_what_was_sent_to_be_played() -> None:
    voice = (np.sin(np.arange(16000)) * 9000).astype("<i2").tobytes()
    spans = [(0.5, 1.5)]
    assert len(picture(Lanes({}, 2.0, playing=spans), voice, voice).axes[0].collections) == 2  # two waves and no bar
    (bar,) = picture(Lanes({}, 2.0, playing=spans)).axes[0].collections
    assert bar.get_paths()[0].get_extents().intervalx.tolist() == [0.5, 1.5]


def test_a_name_is_written_on_its_response_behind_it_or_not_at_all() -> None:
    on, behind = Response("a turn", 1, "r1", 1.0, 1.1, 3.0, "completed"), Response("b turn", 2, "r2", 4.0, 4.1, 4.2, "cancelled")
    figure = picture(Lanes({}, 8.0, responses=[on, behind]))
    assert texts(figure) == [["a turn", "b turn, cancelled"]]
    assert [round(text.get_position()[0], 1) for text in figure.axes[0].texts] == [1.1, 4.2]
    crowd = [Response("turn", n, f"r{n}", 1.0 + n * 0.2, 1.05 + n * 0.2, 1.1 + n * 0.2, "completed") for n in range(3)]
    assert texts(picture(Lanes({}, 8.0, responses=crowd))) == [["turn"]]


def test_a_span_over_the_end_of_a_row_is_drawn_in_both() -> None:
    first, second = picture(Lanes({}, 60.0, turns=[Turn("i", 29.0, 32.0)])).axes
    assert [bar.get_paths()[0].get_extents().intervalx.tolist() for bar in first.collections] == [[29.0, 30.0]]
    assert [bar.get_paths()[0].get_extents().intervalx.tolist() for bar in second.collections] == [[30.0, 32.0]]


def test_a_file_is_written(tmp_path: Path) -> None:
    draw_lanes(busy(5.0), b"", b"", tmp_path / "call.pdf")
    assert (tmp_path / "call.pdf").read_bytes()[:5] == b"%PDF-"


def test_what_was_not_heard_is_grey_and_in_the_legend() -> None:
    told = [Text(0.1, "heard"), Text(1.0, "unheard", unheard=True)]
    figure = picture(Lanes({}, 3.0, agent_texts=told, unheard=[(1.0, 2.0)]), b"\0\0" * 8000, b"\0\0" * 8000)
    (axes,) = figure.axes
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours["heard"] != colours["unheard"] == "#777777"
    bar = axes.collections[-1]
    assert [tuple(bar.get_paths()[0].get_extents().intervalx)] == [(1.0, 2.0)]
    assert "not heard" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_completed_response_of_which_nothing_was_heard_is_grey_like_everything_unheard() -> None:
    def colours(*, unheard: bool) -> set[str]:
        response = Response("turn", 1, "r", None, 1.0, 4.0, "completed", unheard=unheard)
        (axes,) = picture(Lanes({}, 8.0, responses=[response])).axes
        faces = [to_hex(face).upper() for bar in axes.collections for face in np.atleast_2d(bar.get_facecolor())]
        return {str(text.get_color()) for text in axes.texts} | set(faces)

    assert {"#009E73", "white"} <= colours(unheard=False)
    assert {"#C8C8C8", "#222222"} <= colours(unheard=True)
    assert not {"#009E73", "white"} & colours(unheard=True)
