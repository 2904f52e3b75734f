"""A journal as a person reads it."""

from __future__ import annotations

from tests.storage.tape import HEADER, Tape, short_call
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.deadlines import Timer
from trio_voice.storage.dialogue import Dialogue, Row, Tone, Who
from trio_voice.storage.journal import COMMANDS, EVENTS, JournalWriter
from trio_voice.storage.journal_reader import JournalReader

FRAME = b"\x7f" * 160


def rows_of(lines: list[str]) -> list[Row]:
    journal = JournalReader(iter(lines))
    dialogue = Dialogue(journal.header.bytes_per_ms)
    return [row for line in journal for row in dialogue.take(line)] + dialogue.finish()


class Script:
    """Writes a journal without a call."""

    def __init__(self) -> None:
        self.writer = JournalWriter()
        self.lines = [self.writer.header(HEADER)]

    def __call__(self, t: float, *said: e.Event | c.Command | Timer) -> Script:
        for each in said:
            if isinstance(each, Timer):
                self.lines.append(self.writer.timer(t, each))
            elif isinstance(each, e.Event):
                self.lines.append(self.writer.event(t, each))
            else:
                self.lines.append(self.writer.command(t, each))
        return self

    @property
    def rows(self) -> list[Row]:
        return rows_of(self.lines)


def test_each_thing_is_a_row_with_its_moment_and_whose_it_is() -> None:
    script = Script()
    script(0.5, e.CallStarted("CA1"), c.OpenSession(1))
    script(1.25, e.SpeechStarted(1, "item_1", 640))
    script(2.5, Timer.TURN_END, c.CreateResponse(1, 2, c.Purpose.TURN))
    script(3.0, e.HangUpAsked("the agent ended the call"), c.Note("the goodbye is being said"))
    assert script.rows == [
        Row(0.5, Who.CALLER, "CallStarted call_sid=CA1"),
        Row(0.5, Who.US, "OpenSession session=1"),
        Row(1.25, Who.MODEL, "SpeechStarted session=1 item_id=item_1 at_ms=640"),
        Row(2.5, Who.TIMER, "turn_end"),
        Row(2.5, Who.US, "CreateResponse session=1 request=2 purpose=turn"),
        Row(3.0, Who.SHELL, 'HangUpAsked reason="the agent ended the call"'),
        Row(3.0, Who.US, "(the goodbye is being said)"),
    ]


def test_frames_are_one_row_that_ends_where_something_else_happens() -> None:
    script = Script()
    for number in range(62):
        script(0.02 * number, e.CallerAudio(FRAME, -60.0 + number % 30), c.AppendAudio(1, FRAME))
    script(1.24, e.SpeechStarted(1, "i"))
    script(1.25, e.CallerAudio(FRAME), c.AppendAudio(1, FRAME))
    assert script.rows == [
        Row(0.0, Who.CALLER, "1.24 s of caller audio, up to -31 dBFS"),
        Row(1.24, Who.MODEL, "SpeechStarted session=1 item_id=i"),
        Row(1.25, Who.CALLER, "0.02 s of caller audio"),
    ]


def test_a_long_silence_is_as_long_as_it_was() -> None:
    script = Script()
    for number in range(3000):
        script(0.02 * number, e.CallerAudio(FRAME), c.AppendAudio(1, FRAME))
    assert script.rows == [Row(0.0, Who.CALLER, "60.00 s of caller audio")]


def test_a_frame_that_is_handed_on_after_what_it_brought_about_is_no_row_of_its_own() -> None:
    script = Script()
    script(1.0, e.CallerAudio(FRAME, -20.0), c.ClearPlayback(), c.AppendAudio(1, FRAME))
    script(1.02, e.CallerAudio(FRAME, -21.0), c.AppendAudio(1, FRAME))
    assert script.rows == [
        Row(1.0, Who.CALLER, "0.02 s of caller audio, up to -20 dBFS"),
        Row(1.0, Who.US, "ClearPlayback", Tone.CUT),
        Row(1.02, Who.CALLER, "0.02 s of caller audio, up to -21 dBFS"),
    ]


def test_audio_that_waited_for_a_session_is_told() -> None:
    script = Script()
    for number in range(5):
        script(0.02 * number, e.CallerAudio(FRAME))
    script(0.1, e.SessionReady(2), *[c.AppendAudio(2, FRAME)] * 5)
    assert script.rows == [
        Row(0.0, Who.CALLER, "0.10 s of caller audio, 0.00 s of it handed to the model"),
        Row(0.1, Who.MODEL, "SessionReady session=2"),
        Row(0.1, Who.US, "0.10 s of caller audio handed to the model"),
    ]


def test_speech_marks_and_words_of_a_reply_are_a_row_each() -> None:
    script = Script()
    for number, word in enumerate(("Good ", "morning", ", you."), 1):
        t = float(number)
        script(t, e.ModelTranscript(1, "r", "i", word))
        script(
            t, e.ModelAudio(1, "r", "i", FRAME * 10, -18.0 - number), c.PlayAudio("r", "i", FRAME * 10), c.SendMark(f"1.{number}")
        )
        script(t + 0.5, e.PlaybackMarked(f"1.{number}"))
    script(4.0, e.ModelTranscript(1, "r", "i", "Good morning, you.", final=True))
    assert script.rows == [
        Row(1.0, Who.MODEL, "0.60 s of model audio, up to -19 dBFS"),
        Row(1.0, Who.MODEL, 'says "Good morning, you."'),
        Row(1.0, Who.US, "0.60 s sent to be played"),
        Row(1.0, Who.US, "marks 1.1 to 1.3 sent"),
        Row(1.5, Who.CALLER, "marks 1.1 to 1.3 echoed"),
    ]


def test_a_whole_transcript_is_a_row_when_it_is_news() -> None:
    script = Script()(1.0, e.ModelTranscript(1, "r", "i", "Good", final=True), c.SendMark("1.1"))
    assert script.rows == [
        Row(1.0, Who.MODEL, "ModelTranscript session=1 response_id=r item_id=i text=Good final=True"),
        Row(1.0, Who.US, "mark 1.1 sent"),
    ]


def test_refusals_stand_out_with_their_reasons_and_those_of_a_fold_are_counted() -> None:
    script = Script()
    script(1.0, e.SpeechStarted(1, "i"), c.Discard(c.Refusal.GREETING_LOCK))
    script(2.0, Timer.WATCHDOG, c.Refuse(c.Purpose.WATCHDOG, c.Refusal.RESPONSE_ACTIVE, waits=True))
    for number in range(2):
        script(3.0 + number, e.ModelAudio(1, "r", "i", FRAME), c.Discard(c.Refusal.CANCELLED_RESPONSE))
    script(6.0, e.PlaybackMarked("1.1"), c.Discard(c.Refusal.STALE_MARK))
    assert script.rows == [
        Row(1.0, Who.MODEL, "SpeechStarted session=1 item_id=i"),
        Row(1.0, Who.US, "Discard reason=greeting_lock", Tone.REFUSAL),
        Row(2.0, Who.TIMER, "watchdog"),
        Row(2.0, Who.US, "Refuse purpose=watchdog reason=response_active waits=True", Tone.REFUSAL),
        Row(3.0, Who.MODEL, "0.04 s of model audio"),
        Row(3.0, Who.US, "Discard reason=cancelled_response (2 times)", Tone.REFUSAL),
        Row(6.0, Who.CALLER, "mark 1.1 echoed"),
        Row(6.0, Who.US, "Discard reason=stale_mark", Tone.REFUSAL),
    ]


def test_cuts_and_faults_stand_out() -> None:
    script = Script()(1.0, c.ClearPlayback(), c.CancelResponse(1, "r"), c.TruncateItem(1, "i", 640), c.DeleteItem(1, "j"))
    script(2.0, e.SessionLost(1, "closed"), e.ModelErred(1, None, "boom"), e.FatalErrorRaised("KeyError"))
    script.lines.append('{"lost_lines":12}')
    script.lines.append('{"t":3.0,"event":"CallerYawned"}')
    script.lines.append(script.writer.remark(4.0, "the carrier sent something odd"))
    assert [row.tone for row in script.rows] == [Tone.CUT] * 4 + [Tone.FAULT] * 5 + [Tone.PLAIN]
    assert [row.what for row in script.rows[-4:]] == [
        "FatalErrorRaised reason=KeyError",
        "12 lines of the journal are lost here",
        'this version knows no event CallerYawned: {"t":3.0,"event":"CallerYawned"}',
        "the carrier sent something odd",
    ]


def test_long_texts_are_shortened_and_empty_ones_seen() -> None:
    script = Script()(1.0, c.AddText(1, 1, "system", "word " * 40), e.TurnCommitted(1, ""))
    assert script.rows[0].what == f'AddText session=1 number=1 role=system text="{("word " * 40)[:57]}..."'
    assert script.rows[1].what == 'TurnCommitted session=1 item_id=""'
    exactly = "word " * 11 + "words"
    assert Script()(1.0, c.AddText(1, 1, "user", exactly)).rows[0].what.endswith(f'text="{exactly}"')
    assert Script()(1.0, c.AddText(1, 1, "user", f"{exactly}!")).rows[0].what.endswith(f'text="{exactly[:57]}..."')


def test_values_are_shown_by_what_they_mean() -> None:
    script = Script()(1.0, e.ResponseDone(1, "r", e.ResponseStatus.FAILED, error_code="rate_limit_exceeded"))
    script(2.0, e.SessionLost(1, "closed", retryable=False), c.OpenSession(2, 0.25))
    assert [row.what for row in script.rows] == [
        "ResponseDone session=1 response_id=r status=failed error_code=rate_limit_exceeded",
        "SessionLost session=1 reason=closed retryable=False",
        "OpenSession session=2 delay_s=0.25",
    ]


def test_every_event_and_command_of_a_call_is_in_some_row() -> None:
    rows = rows_of(short_call().lines)
    audio_s = sum(float(row.what.split()[0]) for row in rows if "of caller audio" in row.what and row.who is Who.CALLER)
    assert audio_s == 3.2
    shown = {row.what.split()[0] for row in rows}
    recorded = {line.split('"')[5] for line in short_call().lines[1:] if '"timer"' not in line}
    folded = {"CallerAudio", "AppendAudio", "ModelAudio", "PlayAudio", "SendMark", "PlaybackMarked", "ModelTranscript", "Note"}
    assert recorded - shown <= folded
    assert shown & {*EVENTS, *COMMANDS} == recorded - folded


def test_rows_come_as_soon_as_they_are_complete() -> None:
    tape = Tape()
    tape.begin()
    journal = JournalReader(iter(tape.lines))
    dialogue = Dialogue()
    first, *_ = (dialogue.take(line) for line in journal)
    assert first == [Row(0.0, Who.CALLER, "CallStarted call_sid=CA1")]
