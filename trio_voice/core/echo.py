"""Is what comes back the agent's own voice?

A telephone line returns some of what it plays. How much is the *echo return loss*: the agent's level minus that of its echo, in
dB. We know what the caller is hearing, so a frame of the caller's counts as somebody speaking only when it is louder than the
echo could be: above the agent's level of the last 300 ms, less the loss, plus a margin of 7 dB. And it must be a sound at all,
above the line's noise: in the agent's pauses there is no echo to be louder than, and silence is nobody's speech.

The loss is learned while the agent is heard: the 15th percentile of (agent - caller) over the last 125 measured frames (5 s, as
every second frame is measured). A low percentile, because in most frames the echo is weaker than its worst. A frame that does not
rise above the noise says only that the echo is weaker than that: it counts as the highest loss, or else a noisy line would pass
for a bad one and nobody could interrupt. Learning stops while the caller is accepted as speaking. The loss starts at 18 dB and is
kept between 6 and 30 dB. Below a true loss of about 15 dB, or with a very quiet caller, a line needs an echo canceller.

The numbers are those of `bench/barge_in.py`; docs/barge-in.md compares them with others.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from attrs import define, field

START_DB = 18.0
LOWEST_DB = 6.0
HIGHEST_DB = 30.0
MARGIN_DB = 7.5
PERCENTILE = 15
WINDOW_FRAMES = 125
FEWEST_FRAMES = 25
AUDIBLE_DBFS = -45.0
SOUND_DBFS = -48.0
SOUND_OVER_FLOOR_DB = 7.0
ECHO_OVER_FLOOR_DB = 4.0


@define
class EchoGuard:
    """A running estimate of the echo return loss; one caller's frame at a time.

    A loss is kept as one byte: tenths of a dB above the lowest, since what is beyond either bound counts as the bound.
    """

    _losses: bytearray = field(factory=bytearray, init=False)
    _sorted: bytearray = field(factory=bytearray, init=False)

    @property
    def return_loss_db(self) -> float:
        """The estimate, in dB."""
        if len(self._sorted) < FEWEST_FRAMES:
            return START_DB
        return LOWEST_DB + self._sorted[len(self._sorted) * PERCENTILE // 100] / 10

    def is_louder_than_echo(self, caller_dbfs: float, agent_dbfs: float, floor_dbfs: float) -> bool:
        """Whether a frame of this level is a sound, and more than the agent's echo could be."""
        if caller_dbfs <= SOUND_DBFS or caller_dbfs <= floor_dbfs + SOUND_OVER_FLOOR_DB:
            return False
        return agent_dbfs < AUDIBLE_DBFS or caller_dbfs > agent_dbfs - self.return_loss_db + MARGIN_DB

    def learn(self, caller_dbfs: float, agent_dbfs: float, floor_dbfs: float) -> None:
        """Take a frame in that is not the caller's speech."""
        if agent_dbfs < AUDIBLE_DBFS:
            return
        if len(self._losses) == WINDOW_FRAMES:
            del self._sorted[bisect_left(self._sorted, self._losses.pop(0))]
        is_noise = caller_dbfs <= floor_dbfs + ECHO_OVER_FLOOR_DB
        loss_db = HIGHEST_DB if is_noise else min(max(agent_dbfs - caller_dbfs, LOWEST_DB), HIGHEST_DB)
        loss = round(10 * (loss_db - LOWEST_DB))
        self._losses.append(loss)
        insort(self._sorted, loss)
