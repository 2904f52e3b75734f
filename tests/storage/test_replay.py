"""A recorded call lived again: the same commands, or the first place where then and now part."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import define

from tests.storage.tape import Tape, short_call
from trio_voice.core.call import Call
from trio_voice.core.commands import Close, Command
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import (
    CallerAudio,
    CallStarted,
    Event,
    FatalErrorRaised,
    ModelAudio,
    SessionReady,
    SpeechStarted,
)
from trio_voice.core.settings import CallSettings
from trio_voice.storage.journal import Header
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Difference, Replayed, Verdict, replay

LONG_DELTA = bytes(range(256)) * 40


def replayed(tape: Tape, until_s: float | None = None) -> Replayed:
    return replay(JournalReader(iter(tape.lines)), until_s)


def edited(tape: Tape, place: int, **fields: object) -> None:
    record: dict[str, Any] = json.loads(tape.lines[place])
    tape.lines[place] = json.dumps({**record, **fields})


def place_of(tape: Tape, text: str, *, nth: int = 0) -> int:
    return [place for place, line in enumerate(tape.lines) if text in line][nth]


def difference_of(tape: Tape) -> Difference:
    found = replayed(tape)
    assert found.verdict is Verdict.DIFFERENT
    assert found.difference is not None
    return found.difference


# --- the same


def test_r36_a_call_that_is_lived_again_commands_the_same() -> None:
    tape = short_call()
    events = sum('"event"' in line for line in tape.lines)
    timers = sum('"timer"' in line for line in tape.lines)
    commands = sum('"command"' in line for line in tape.lines)
    assert timers >= 2
    assert '"TruncateItem"' in tape.text
    assert replayed(tape) == Replayed(Verdict.SAME, events, timers, commands, tape.now, ended=True)


@pytest.mark.parametrize("keep_audio", [False, True])
@pytest.mark.parametrize("settings", [CallSettings(), CallSettings(barge_in_confirm_ms=300), CallSettings(greeting=False)])
def test_settings_and_audio_come_from_the_journal(settings: CallSettings, keep_audio: bool) -> None:
    assert replayed(short_call(settings=settings, keep_audio=keep_audio)).verdict is Verdict.SAME


@pytest.mark.parametrize("keep_audio", [False, True])
def test_a_delta_that_is_played_in_pieces_is_the_same(keep_audio: bool) -> None:
    tape = Tape(keep_audio=keep_audio)
    tape.begin()
    tape.reply(1, 1)
    tape.feed(ModelAudio(1, "resp_1", "item_1", LONG_DELTA))
    assert sum('"PlayAudio"' in line for line in tape.lines) >= 1
    assert replayed(tape).verdict is Verdict.SAME


def test_the_apology_comes_from_the_journal() -> None:
    for keep_audio in (False, True):
        header = Header(call_id="c", call_sid="s", started_at="then", version="0", apology=LONG_DELTA[:5000])
        tape = Tape(header, keep_audio=keep_audio)
        tape.begin()
        tape.feed(FatalErrorRaised("caller's reader: KeyError"))
        assert "apology" in tape.lines[-1] or '"SendMark"' in tape.lines[-1]
        assert replayed(tape).verdict is Verdict.SAME


def test_remarks_and_lines_of_the_future_change_nothing() -> None:
    tape = short_call()
    before = replayed(tape)
    for place in range(len(tape.lines) - 1, 0, -40):
        tape.lines.insert(place, tape.writer.remark(1.0, "the carrier sent something odd"))
        tape.lines.insert(place, '{"t":1.0,"measure":"cpu"}')
    assert replayed(tape) == before


def test_events_after_the_close_change_nothing() -> None:
    tape = short_call()
    tape.feed(SpeechStarted(1, "late", 0))
    assert replayed(tape).verdict is Verdict.SAME
    assert replayed(tape).ended


# --- different


def test_r36_a_field_that_differs_is_where_then_and_now_part() -> None:
    tape = short_call()
    place = place_of(tape, '"TruncateItem"')
    before = list(tape.lines)
    heard_ms = json.loads(tape.lines[place])["heard_ms"]
    edited(tape, place, heard_ms=heard_ms + 20)
    assert difference_of(tape) == Difference(
        place + 1,
        json.loads(tape.lines[place])["t"],
        f"TruncateItem(session=1, item_id='item_2', heard_ms={heard_ms + 20})",
        f"TruncateItem(session=1, item_id='item_2', heard_ms={heard_ms})",
        (*before[place - 3 : place], tape.lines[place]),
    )


def test_a_command_of_another_kind() -> None:
    tape = short_call()
    place = place_of(tape, '"ClearPlayback"')
    tape.lines[place] = '{"t":3.0,"command":"SendMark","name":"1.99"}'
    found = difference_of(tape)
    assert (found.line, found.expected, found.got) == (place + 1, "SendMark(name='1.99')", "ClearPlayback()")


def test_a_command_that_is_not_given_any_more() -> None:
    tape = short_call()
    place = place_of(tape, '"event":"CallerAudio"')
    tape.lines.insert(place + 1, '{"t":0.02,"command":"ClearPlayback"}')
    found = difference_of(tape)
    assert (found.line, found.expected, found.got) == (place + 2, "ClearPlayback()", "nothing")


def test_a_command_that_is_new() -> None:
    tape = short_call()
    place = place_of(tape, '"SendMark"')
    del tape.lines[place]
    found = difference_of(tape)
    assert (found.line, found.expected, found.got) == (
        place + 1, f"no more commands before {tape.lines[place]}", "SendMark(name='1.1')"
    )  # fmt: skip


def test_a_command_that_is_new_at_the_very_end() -> None:
    tape = short_call()
    tape.lines[-1] = '{"t":3.2,"command":"HangUp","reason":"x"}'
    assert difference_of(tape).got == "Close(reason='the carrier sent stop')"


@pytest.mark.parametrize("field", ["bytes", "crc32"])
def test_other_audio(field: str) -> None:
    tape = short_call()
    first, second = (json.loads(tape.lines[place_of(tape, '"event":"CallerAudio"', nth=nth)])["audio"] for nth in (20, 21))
    place = place_of(tape, '"command":"AppendAudio"', nth=20)
    edited(tape, place, audio={**first, field: second[field] - 1 if field == "bytes" else second[field]})
    found = difference_of(tape)
    assert found.line == place + 1
    if field == "crc32":
        assert found.got == "AppendAudio(session=1, audio=<160 bytes>) with other audio"
    else:
        assert found.expected == "AppendAudio(session=1, audio=<159 bytes>)"
        assert found.got == "AppendAudio(session=1, audio=<160 bytes>)"


def test_other_audio_when_it_was_kept() -> None:
    tape = short_call(keep_audio=True)
    place = place_of(tape, '"command":"PlayAudio"')
    edited(tape, place, audio={"bytes": 160, "base64": "AAAA" * 53 + "AA=="})
    assert difference_of(tape).got.endswith("with other audio")


def test_another_setting() -> None:
    tape = short_call()
    edited(tape, 0, settings={"mark_every_ms": 100})
    found = difference_of(tape)
    assert (found.expected, found.got) == (f"no more commands before {tape.lines[found.line - 1]}", "SendMark(name='1.1')")


def test_r36_what_this_version_does_not_know_is_where_the_replay_ends() -> None:
    tape = short_call()
    line = '{"t":0.1,"event":"CallerYawned"}'
    place = place_of(tape, '"event":"CallerAudio"', nth=20)
    tape.lines.insert(place, line)
    found = difference_of(tape)
    assert (found.line, found.expected, found.got) == (place + 1, line, "this version knows no event CallerYawned")


# --- deadlines


def test_another_deadline() -> None:
    tape = short_call()
    place = place_of(tape, '"timer":"turn_end"')
    edited(tape, place, timer="watchdog")
    found = difference_of(tape)
    due_at = json.loads(tape.lines[place])["t"]
    assert (found.line, found.expected, found.got) == (
        place + 1, "the deadline watchdog", f"the deadline turn_end, due at {due_at:.6f} s"
    )  # fmt: skip


def test_a_deadline_that_is_not_due_yet() -> None:
    tape = short_call()
    place = place_of(tape, '"timer":"turn_end"')
    due_at = json.loads(tape.lines[place])["t"]
    edited(tape, place, t=due_at - 0.001)
    assert difference_of(tape).got == f"the deadline turn_end, due at {due_at:.6f} s"


def test_a_deadline_that_acts_late_is_the_same() -> None:
    tape = Tape()
    tape.feed(CallStarted("CA1"))
    tape.now = 3.4
    tape.lines.append(tape.writer.timer(3.4, Timer.CALIBRATION))
    tape.lines += [tape.writer.command(3.4, command) for command in tape.call.handle_timer(3.4)]
    assert replayed(tape).verdict is Verdict.SAME


def test_a_deadline_when_none_is_armed() -> None:
    tape = Tape()
    tape.lines.append('{"t":1.0,"timer":"watchdog"}')
    found = difference_of(tape)
    assert (found.expected, found.got) == ("the deadline watchdog", "no deadline")


def test_a_deadline_that_should_have_acted_before_the_journal_ends() -> None:
    tape = Tape()
    tape.feed(CallStarted("CA1"))
    for late_s, verdict in ((0.9, Verdict.SAME), (1.0, Verdict.SAME), (1.000001, Verdict.DIFFERENT)):
        tape.now = 3.0 + late_s
        tape.feed(CallerAudio(b"\xff" * 160))
        assert replayed(tape).verdict is verdict
    assert difference_of(tape).got == "the deadline calibration, due at 3.000000 s"


# --- failures


@define
class FailingCall(Call):
    """A state machine with a bug: it fails at the second session."""

    def receive(self, event: Event, now: float) -> list[Command]:
        if event == SessionReady(2):
            raise KeyError("r1")
        return Call.receive(self, event, now)


def failed_tape() -> Tape:
    tape = Tape(call=FailingCall())
    tape.begin()
    with pytest.raises(KeyError):
        tape.feed(SessionReady(2))
    tape.feed(FatalErrorRaised("model session: KeyError"))
    return tape


def test_a_state_machine_that_failed_then_and_fails_now_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_voice.storage.replay.Call", FailingCall)
    assert replayed(failed_tape()).verdict is Verdict.SAME


def test_a_state_machine_that_failed_then_and_not_now_differs() -> None:
    tape = failed_tape()
    assert difference_of(tape).got == "Discard(reason=<Refusal.STALE_SESSION: 'stale_session'>)"


def test_a_state_machine_that_fails_now_and_did_not_then_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape()
    tape.begin()
    tape.feed(SessionReady(2))
    monkeypatch.setattr("trio_voice.storage.replay.Call", FailingCall)
    assert difference_of(tape).got == "the state machine fails: KeyError: 'r1'"
    for end in (slice(-1), slice(None)):  # the journal ends with the event that fails, or goes on
        found = replay(JournalReader(iter(tape.lines[end]))).difference
        assert found is not None
        assert found.got == "the state machine fails: KeyError: 'r1'"


@define
class HopelessCall(Call):
    """A state machine that fails at the second session, and at the news of it."""

    def receive(self, event: Event, now: float) -> list[Command]:
        if event == SessionReady(2) or isinstance(event, FatalErrorRaised):
            raise KeyError("r1")
        return Call.receive(self, event, now)


def hopeless_tape() -> Tape:
    tape = Tape(call=HopelessCall())
    tape.begin()
    for event in (SessionReady(2), FatalErrorRaised("state machine: KeyError")):
        with pytest.raises(KeyError):
            tape.feed(event)
    tape.lines.append(tape.writer.command(tape.now, Close("state machine: KeyError")))
    return tape


def test_a_call_that_the_shell_had_to_close_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = hopeless_tape()
    assert difference_of(tape).got == "Discard(reason=<Refusal.STALE_SESSION: 'stale_session'>)"
    monkeypatch.setattr("trio_voice.storage.replay.Call", HopelessCall)
    assert replayed(tape).verdict is Verdict.SAME
    assert replayed(tape).ended
    tape.lines[-1] = '{"t":0.1,"command":"ClearPlayback"}'
    assert difference_of(tape).got == "the state machine fails: KeyError: 'r1'"


def test_a_failure_that_goes_unanswered_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = failed_tape()
    monkeypatch.setattr("trio_voice.storage.replay.Call", FailingCall)
    place = place_of(tape, '"FatalErrorRaised"')
    tape.lines.insert(place, '{"t":0.1,"event":"DigitPressed","digit":"1"}')
    assert difference_of(tape).got == "the state machine fails: KeyError: 'r1'"
    tape.lines[place] = '{"t":0.1,"command":"Close","reason":"x"}'
    assert difference_of(tape).got == "the state machine fails: KeyError: 'r1'"


def test_a_shell_that_failed_at_a_command_did_not_come_to_the_next() -> None:
    tape = Tape()
    tape.begin()
    assert '"CreateResponse"' in tape.lines[-1]
    del tape.lines[-1]
    tape.feed(FatalErrorRaised("model session: ValueError"))
    assert replayed(tape).verdict is Verdict.SAME


# --- journals that end early


@pytest.mark.parametrize("kept", range(1, 60))
def test_r36_a_journal_that_was_cut_off_is_the_same_as_far_as_it_goes(kept: int) -> None:
    tape = short_call()
    text = tape.text[: len(tape.text) * kept // 60]
    if "\n" in text:
        found = replay(JournalReader(iter(text.splitlines(keepends=True))))
        assert (found.verdict, found.ended, found.difference) == (Verdict.SAME, False, None)


def test_a_journal_with_lost_lines_cannot_be_judged_after_them() -> None:
    tape = short_call()
    del tape.lines[200:220]
    tape.lines.insert(200, '{"lost_lines":20}')
    found = replayed(tape)
    assert (found.verdict, found.ended, found.difference) == (Verdict.UNKNOWN, False, None)
    assert found.last_t < tape.now


def test_what_comes_after_lost_lines_is_no_difference() -> None:
    tape = Tape()
    tape.feed(CallStarted("CA1"))
    tape.lines += ['{"t":9.0,"remark":"long after the calibration"}', '{"lost_lines":20}', '{"t":9.5,"timer":"tea"}']
    assert replayed(tape).verdict is Verdict.UNKNOWN


def test_until_a_moment() -> None:
    tape = short_call()
    place = place_of(tape, '"TruncateItem"')
    moment = json.loads(tape.lines[place])["t"]
    edited(tape, place, heard_ms=1)
    assert replayed(tape, until_s=moment - 0.01).verdict is Verdict.SAME
    assert replayed(tape, until_s=moment).verdict is Verdict.DIFFERENT


def test_until_a_moment_all_commands_before_it_are_due() -> None:
    tape = short_call()
    place = place_of(tape, '"TruncateItem"')
    moment = json.loads(tape.lines[place])["t"]
    while json.loads(tape.lines[place])["t"] == moment and '"event"' not in tape.lines[place]:
        del tape.lines[place]
    found = replayed(tape, until_s=moment).difference
    assert found is not None
    assert (found.expected, found.got.partition("(")[0]) == ("no more commands", "TruncateItem")


def test_a_header_alone_is_a_call_that_has_not_begun() -> None:
    assert replayed(Tape()) == Replayed(Verdict.SAME, 0, 0, 0, 0.0, ended=False)
