"""What a console does when nobody reads any more."""

from __future__ import annotations

from io import StringIO

import pytest

from trio_voice.storage.screen import PipedConsole


class ClosedPipe(StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_that_the_reader_left_is_raised() -> None:
    console = PipedConsole(file=ClosedPipe())
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        console.print("one")
