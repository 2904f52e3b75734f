"""The latest lines of a call: which are kept, which are lost, and what they weigh."""

from __future__ import annotations

import sys

import pytest

from trio_voice.server.latest_lines import BLOCK_CHARACTERS, BLOCK_LINES, LatestLines


@pytest.mark.parametrize("count", [0, 1, BLOCK_LINES - 1, BLOCK_LINES, BLOCK_LINES + 1, 119, 120])
def test_all_lines_are_there_from_any_number_on(count: int) -> None:
    lines = LatestLines(120, 10_000)
    told = [f"line {number} with é" for number in range(count)]
    for line in told:
        lines.append(line)
    assert lines.count == count
    for number in range(count + 1):
        assert lines.since(number) == (0, told[number:])


def test_of_too_many_lines_the_oldest_are_lost_and_counted() -> None:
    lines = LatestLines(120, 10_000)
    for number in range(1, 400):
        lines.append(str(number - 1))
        lost = max(0, number - 120)
        assert lines.since(0) == (lost, [str(each) for each in range(lost, number)])
        assert lines.since(number - 1) == (0, [str(number - 1)])
    assert lines.since(300) == (0, [str(each) for each in range(300, 399)])
    assert lines.since(250) == (29, [str(each) for each in range(279, 399)])


def test_of_too_long_lines_whole_blocks_are_lost() -> None:
    lines = LatestLines(500, 4 * BLOCK_CHARACTERS)
    long = "x" * BLOCK_CHARACTERS
    for _ in range(4):
        lines.append(long)
    assert lines.since(0) == (0, [long] * 4)
    lines.append("short")
    assert lines.since(0) == (1, [*[long] * 3, "short"])
    assert lines.since(2) == (0, [long, long, "short"])
    lines.append("x" * (4 * BLOCK_CHARACTERS + 1))
    assert lines.since(0) == (6, [])
    lines.append("after")
    assert lines.since(0) == (6, ["after"])
    assert lines.since(7) == (0, [])


def test_lines_that_are_kept_weigh_a_quarter_of_what_they_are() -> None:
    lines = LatestLines(500, 256 * 1024)
    said = [f'{{"t":{number / 7},"command":"SendMark","name":"item_9f3c/{number * 160}"}}' for number in range(500)]
    for line in said:
        lines.append(line)
    kept = sum(sys.getsizeof(block.compressed) for block in lines._blocks)
    assert lines.since(0) == (0, said)
    assert kept < sum(map(sys.getsizeof, said)) / 4
