"""What a call leaves: the recordings, the journal, the picture, and a summary in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.wav import write_wav_8khz
from trio_voice.errors import UserError
from trio_voice.phone.caller import PhoneCall
from trio_voice.phone.report import TurnReport, turn_reports
from trio_voice.storage.timeline import draw_timeline

_WORDS_SHOWN = 60
_WHAT_IS_IN_IT = "    (with the silence that ends a turn; the server's own time to first audio begins after that silence)"


def write_results(call: PhoneCall, folder: Path, journal_lines: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Write what the call leaves into a folder; returns the files' paths, and a sentence for each that could not be written.

    `caller.wav` is what the caller heard; `call.wav` has the caller on the left and what they heard on the right; `call.jsonl` is
    written from the given lines if the server has not put it there; `call.png` is the picture. Raises UserError when nothing
    can be written.
    """
    heard, said = ulaw_to_pcm16(bytes(call.carrier.heard)), ulaw_to_pcm16(bytes(call.carrier.said))
    journal = folder / "call.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_wav_8khz(folder / "caller.wav", heard)
        write_wav_8khz(folder / "call.wav", _side_by_side(said, heard), channels=2)
        if journal_lines and not journal.exists():
            journal.write_text("".join(f"{line}\n" for line in journal_lines), "utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); give another --calls-folder") from None
    has_journal = journal.exists()
    paths = [folder / "caller.wav", folder / "call.wav", *([journal] if has_journal else [])]
    words = [(spoken.onset_s, spoken.text) for spoken in call.performance.spoken if spoken.text]
    try:
        draw_timeline(journal if has_journal else None, heard, said, folder / "call.png", caller_words=words)
    except UserError as error:
        return paths, [str(error)]
    return [*paths, folder / "call.png"], []


def summary(call: PhoneCall) -> list[str]:
    """Return the call in a few lines: how it ended, each turn, the latencies, the carrier's warnings."""
    ending = call.ending
    assert ending is not None
    reports = turn_reports(bytes(call.carrier.heard), call.performance.spoken, call.carrier.events)
    why = f"code {ending.code}" + (f", {ending.reason}" if ending.reason else "")
    lines = [f"The call lasted {ending.at_s:.1f} s and was ended by the {ending.by.value} ({why})."]
    lines += [f"  turn {number}  {_turn(report, ending.at_s)}" for number, report in enumerate(reports, 1)]
    answers = [report.answered_after_s for report in reports if report.answered_after_s is not None]
    if answers:
        times = f"median {median(answers):.2f} s, longest {max(answers):.2f} s"
        lines += [f"  from the caller's last sound to the agent's first: {times}", _WHAT_IS_IN_IT]
    warnings = call.carrier.warnings
    lines.append(f"  warnings of the carrier: {len(warnings) or 'none'}")
    lines += [f"    {warning.at_s:.2f} s  {warning.code} {warning.text}" for warning in warnings[:5]]
    lines.append(f"  this phone sent its frames at most {call.lag_max_s * 1000:.0f} ms late")
    return lines


def _turn(report: TurnReport, call_s: float) -> str:
    text = report.spoken.text
    shown = text if len(text) <= _WORDS_SHOWN else text[: _WORDS_SHOWN - 3] + "..."
    facts = []
    if report.into_speech and report.silenced_after_s is not None:
        how = "silenced the agent in" if report.cut else "the agent finished by itself in"
        facts.append(f"{how} {report.silenced_after_s:.2f} s")
    elif report.into_speech:
        facts.append("spoken into the agent's speech, which went on")
    if report.answered_after_s is not None:
        facts.append(f"answered after {report.answered_after_s:.2f} s")
    elif report.spoken.end_s > call_s:
        facts.append("the call ended before it did")
    return f"at {report.spoken.onset_s:6.2f} s  {shown:<{_WORDS_SHOWN}}  {', '.join(facts) or 'no answer'}"


def _side_by_side(left: bytes, right: bytes) -> bytes:
    channels = [np.frombuffer(pcm, "<i2") for pcm in (left, right)]
    both = np.zeros((max(map(len, channels)), 2), "<i2")
    for number, samples in enumerate(channels):
        both[: len(samples), number] = samples
    return both.tobytes()
