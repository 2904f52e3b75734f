"""The noise floor of a telephone line, from the levels of its frames.

A mean or a median follows the speech; a low percentile does not. The rules, each for a reason that was measured on recorded
prompts in white, pink, hum and babble noise:

- frames below -85 dBFS are skipped: the media path is not open yet, or the line is digitally silent between words;
- under 5 usable frames (100 ms of 20 ms frames) there is no estimate and the fallback of -60 dBFS stands;
- up to 15 frames the minimum, then the 10th percentile of the last 150 frames (3 s);
- the estimate is capped at -45 dBFS until 100 frames are in (a caller who speaks at once must not count as noise), then at
  -28 dBFS, and never falls below -72 dBFS.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort

from attrs import define, field

FALLBACK_DBFS = -60.0
LOWEST_DBFS = -72.0
CAP_EARLY_DBFS = -45.0
CAP_DBFS = -28.0
UNUSABLE_BELOW_DBFS = -85.0
FEWEST_FRAMES = 5
PERCENTILE_FROM_FRAMES = 15
EARLY_FRAMES = 100
WINDOW_FRAMES = 150


@define
class NoiseFloor:
    """A running estimate; `add` one level a frame, read `dbfs`. The window is bounded: 150 levels, to a hundredth of a dB."""

    _levels: array[int] = field(factory=lambda: array("h"), init=False)
    """In hundredths of a dB: there is one window for each call."""
    _sorted: array[int] = field(factory=lambda: array("h"), init=False)

    @property
    def usable_frames(self) -> int:
        """How many frames the estimate rests on (at most 150)."""
        return len(self._levels)

    def add(self, level_dbfs: float) -> None:
        """Take the level of one frame in; unusable (digitally silent) frames are skipped."""
        if level_dbfs < UNUSABLE_BELOW_DBFS:
            return
        if len(self._levels) == WINDOW_FRAMES:
            oldest = self._levels.pop(0)
            del self._sorted[bisect_left(self._sorted, oldest)]
        level = round(100 * min(level_dbfs, 0.0))
        self._levels.append(level)
        insort(self._sorted, level)

    @property
    def dbfs(self) -> float:
        """The floor in dBFS."""
        count = len(self._sorted)
        if count < FEWEST_FRAMES:
            return FALLBACK_DBFS
        estimate = self._sorted[0 if count < PERCENTILE_FROM_FRAMES else count // 10] / 100
        return min(max(estimate, LOWEST_DBFS), CAP_EARLY_DBFS if count < EARLY_FRAMES else CAP_DBFS)
