"""The latest lines of a call, for those who come late. Pure.

All but the last few are compressed, in blocks: of every call some hundred lines wait for somebody who may never come, and they
would be most of what a call weighs.
"""

from __future__ import annotations

import zlib

from attrs import define, field, frozen

BLOCK_LINES = 20
BLOCK_CHARACTERS = 16 * 1024
"""A block is compressed when it has so many lines, or would be longer; a line that is longer is a block of its own."""
_FASTEST = 1


@frozen
class _Block:
    first: int
    """The number of its first line."""
    count: int
    characters: int
    compressed: bytes

    def lines(self) -> list[str]:
        return zlib.decompress(self.compressed).decode().split("\n")


@define(eq=False)
class LatestLines:
    """At most `most_lines` lines, with at most `most_characters` together. Lines are numbered from 0; no newline is in them."""

    most_lines: int
    most_characters: int
    count: int = field(default=0, init=False)
    """How many lines there were, those that are kept no more included."""
    _blocks: list[_Block] = field(factory=list, init=False)
    _open: list[str] = field(factory=list, init=False)
    _open_characters: int = field(default=0, init=False)
    _characters: int = field(default=0, init=False)
    """Of all that is kept."""

    def append(self, line: str) -> None:
        """Take a line; the oldest ones may have to make room for it."""
        if self._open and self._open_characters + len(line) > BLOCK_CHARACTERS:
            self._close_block()
        self._open.append(line)
        self.count += 1
        self._open_characters += len(line)
        self._characters += len(line)
        if len(self._open) == BLOCK_LINES or self._open_characters > BLOCK_CHARACTERS:
            self._close_block()
        while self._blocks and (self._characters > self.most_characters or self._is_old(self._blocks[0])):
            self._characters -= self._blocks.pop(0).characters

    def since(self, number: int) -> tuple[int, list[str]]:
        """The lines from this number on, and how many of them are lost, which are the first."""
        lines = [line for block in self._blocks if block.first + block.count > number for line in block.lines()]
        lines += self._open
        first = self.count - len(lines)
        wanted = max(number, first, self.count - self.most_lines)
        return wanted - number, lines[wanted - first :]

    def _close_block(self) -> None:
        compressed = zlib.compress("\n".join(self._open).encode(), _FASTEST)
        first = self.count - len(self._open)
        self._blocks.append(_Block(first, len(self._open), self._open_characters, compressed))
        self._open, self._open_characters = [], 0

    def _is_old(self, block: _Block) -> bool:
        return block.first + block.count <= self.count - self.most_lines
