"""What a peer says, as it may be shown on a terminal.

Carriers and models choose ids, reasons and texts, and a terminal obeys what it is shown: an escape sequence can repaint the
screen or type into it, and a change of direction can make a line read otherwise than it is.
"""

from __future__ import annotations

import re

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls but for tab and newline, changes of direction, and halves of surrogate pairs."""


def printable(text: str) -> str:
    r"""Return the text with what a terminal would obey written out, as in `\x1b[31m`."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
