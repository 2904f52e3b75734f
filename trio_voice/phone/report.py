"""What came out of a call, measured where it counts: at the caller's ear.

All times are on one axis, the call's: what the caller said and heard, sample by sample. They contain everything between the
caller's last sound and the agent's first: the detector's silence, the turn-end, the model, and the wires.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from trio_voice.phone.carrier import Happening, LineEvent
from trio_voice.phone.scenario import Spoken
from trio_voice.phone.voice import voiced_frames

_FRAME_MS = 5
_FRAMES_PER_S = 1000 / _FRAME_MS
_PAUSE_S = 0.3
"""Silence of the agent that is shorter is a pause between words."""
_LONG_PAUSE_S = 0.6
"""Whoever is heard this long before and after the caller's onset was interrupted, though perhaps between two sentences."""
_AT_ONCE_S = 0.05
"""How long after a clear the last voiced frame may end: the detection works in frames."""


@frozen
class TurnReport:
    """One utterance of the caller and what the agent made of it; seconds, None: it did not happen.

    `answered_after_s`: from the end of the caller's sound to the agent's first. `silenced_after_s`: for an utterance into the
    agent's speech, from the caller's onset to the agent's silence; `cut`: the carrier was told to clear, and did.
    """

    spoken: Spoken
    answered_after_s: float | None = None
    into_speech: bool = False
    silenced_after_s: float | None = None
    cut: bool = False


def turn_reports(heard_ulaw: bytes, spoken: Sequence[Spoken], events: Iterable[LineEvent]) -> list[TurnReport]:
    """Measure each utterance of the caller against what was heard (mu-law, from the answer on)."""
    agent = voiced_frames(heard_ulaw, _FRAME_MS)
    call_s = len(agent) / _FRAMES_PER_S
    cleared = [event.at_s for event in events if event.what is Happening.CLEARED]
    reports = []
    for utterance, until_s in _with_the_time_after(spoken, call_s):
        if utterance.onset_s < call_s:
            reports.append(_turn_report(agent, utterance, until_s, cleared))
    return reports


def unanswered(heard_ulaw: bytes, spoken: Sequence[Spoken], patience_s: float) -> tuple[Spoken, float] | None:
    """Find the first utterance that nothing was heard after, though the caller waited so long; it, and how long they waited."""
    agent = voiced_frames(heard_ulaw, _FRAME_MS)
    for utterance, until_s in _with_the_time_after(spoken, len(agent) / _FRAMES_PER_S):
        waited_s = until_s - utterance.end_s
        is_audible = utterance.end_s > utterance.onset_s
        if is_audible and waited_s >= patience_s and not _sounds(agent, utterance.end_s + _PAUSE_S, until_s):
            return utterance, waited_s
    return None


def _with_the_time_after(spoken: Sequence[Spoken], call_s: float) -> Iterator[tuple[Spoken, float]]:
    """Each utterance, and when the time for its answer is over: at the next one's onset, or the call's end."""
    for number, utterance in enumerate(spoken):
        yield utterance, spoken[number + 1].onset_s if number + 1 < len(spoken) else call_s


def _turn_report(agent: npt.NDArray[np.bool_], spoken: Spoken, until_s: float, cleared: Sequence[float]) -> TurnReport:
    answered_s = None
    if not _sounds(agent, spoken.end_s - _PAUSE_S, spoken.end_s):
        answered_s = _first_sound(agent, spoken.end_s, until_s)
    answered_after_s = None if answered_s is None else round(answered_s - spoken.end_s, 3)
    goes_on = _sounds(agent, spoken.onset_s, spoken.onset_s + _LONG_PAUSE_S)
    goes_on |= any(0 <= at_s - spoken.onset_s <= _LONG_PAUSE_S for at_s in cleared)
    if not goes_on or not _sounds(agent, spoken.onset_s - _LONG_PAUSE_S, spoken.onset_s):
        return TurnReport(spoken, answered_after_s)
    silent_s = _silence_from(agent, spoken.onset_s, until_s)
    cut = silent_s is not None and any(spoken.onset_s <= at_s <= silent_s + _PAUSE_S for at_s in cleared)
    if cut and silent_s is not None:
        at_s = next(at_s for at_s in cleared if at_s >= spoken.onset_s)
        silent_s = at_s if silent_s <= at_s + _AT_ONCE_S else silent_s
    silenced_after_s = None if silent_s is None else round(silent_s - spoken.onset_s, 3)
    return TurnReport(spoken, answered_after_s, into_speech=True, silenced_after_s=silenced_after_s, cut=cut)


def _frames(agent: npt.NDArray[np.bool_], begin_s: float, end_s: float) -> npt.NDArray[np.bool_]:
    begin, end = (max(0, round(edge_s * _FRAMES_PER_S)) for edge_s in (begin_s, end_s))
    return agent[begin:end]


def _sounds(agent: npt.NDArray[np.bool_], begin_s: float, end_s: float) -> bool:
    return bool(_frames(agent, begin_s, end_s).any())


def _first_sound(agent: npt.NDArray[np.bool_], begin_s: float, end_s: float) -> float | None:
    found = np.flatnonzero(_frames(agent, begin_s, end_s))
    return begin_s + int(found[0]) / _FRAMES_PER_S if len(found) else None


def _silence_from(agent: npt.NDArray[np.bool_], begin_s: float, end_s: float) -> float | None:
    """Return when the agent fell silent for at least a pause, after `begin_s`; None: it did not."""
    frames = _frames(agent, begin_s, end_s)
    pause = round(_PAUSE_S * _FRAMES_PER_S)
    voiced = np.flatnonzero(np.append(frames, True))  # as if it began to speak again at the end
    before = np.append(-1, voiced[:-1])
    gaps = np.flatnonzero(voiced - before > pause)
    return begin_s + (int(before[gaps[0]]) + 1) / _FRAMES_PER_S if len(gaps) else None
