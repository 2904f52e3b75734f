"""A call as a picture: both voices on one time axis, and under them what the lifecycle did about them.

matplotlib draws it and comes with the extra `pictures`; everything else of trio-voice works without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from trio_voice.errors import UserError, how_to_install
from trio_voice.storage.timeline_lanes import Lanes, Text, read_lanes


def draw_timeline(
    journal: Path | None,
    caller_heard_pcm: bytes,
    caller_said_pcm: bytes,
    target: Path,
    *,
    caller_words: Sequence[tuple[float, str]] = (),
) -> None:
    """Draw one call into `target` (.png, .svg or .pdf).

    The recordings are signed 16-bit PCM at 8000 Hz whose first sample is the call's beginning; either may be empty. `journal`
    None: only the voices. `caller_words` says when (seconds) the caller said what, where that is known better than from the
    journal.

    Raises UserError when matplotlib is not installed, or the journal cannot be read.
    """
    if find_spec("matplotlib") is None:
        raise UserError(f"no picture: matplotlib is not installed; install it with: {how_to_install('matplotlib')}")
    from trio_voice.storage.timeline_picture import draw_lanes  # noqa: PLC0415 - matplotlib is optional, and takes half a second

    lanes = Lanes()
    if journal is not None:
        try:
            with journal.open(encoding="utf-8", errors="replace") as lines:
                lanes = read_lanes(lines)
        except OSError as error:
            raise UserError(f"{journal}: the journal cannot be read ({error.strerror})") from None
    if caller_words:
        lanes.caller_texts = [Text(at_s, text) for at_s, text in caller_words]
    draw_lanes(lanes, caller_heard_pcm, caller_said_pcm, target)
