"""The command as its user meets it: what it prints and how it exits."""

from __future__ import annotations

import gzip
import io
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from tests.storage.tape import Tape, short_call
from trio_voice.core.events import CallStarted
from trio_voice.errors import UserError
from trio_voice.storage import replay_command
from trio_voice.storage.dialogue import Row, Tone, Who
from trio_voice.storage.replay_command import Screen, newest_call, recordings_beside, replay


def run(*arguments: object) -> Result:
    return CliRunner().invoke(replay, [str(argument) for argument in arguments], catch_exceptions=False)


def written(folder: Path, tape: Tape, name: str = "call.jsonl") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(tape.text.encode()) if name.endswith(".gz") else tape.text.encode())
    return path


def write_wav(path: Path, samples: list[int], channels: int, rate_hz: int = 8000, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(np.array(samples, "<i2").tobytes())


def test_a_call_is_told_and_lived_again(tmp_path: Path) -> None:
    result = run(written(tmp_path, short_call()))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "call c, then, trio-voice 0"
    assert lines[1].startswith("seconds since the call began, and whose doing it is: the caller's, the model's, ")
    assert lines[2].startswith("a timer's (a deadline of the state machine has passed), ")
    assert lines[3] == "    0.000  caller  CallStarted call_sid=CA1"
    assert lines[-2] == '    3.200  us      Close reason="the carrier sent stop"'
    events = sum('"event"' in line for line in short_call().lines)
    assert lines[-1].startswith(f"SAME: {events} events, 2 deadlines, ")
    assert "\x1b" not in result.stdout
    assert not result.stderr


def test_without_a_name_it_is_the_newest_call(tmp_path: Path) -> None:
    for name, written_at in (("old", 100), ("new", 300), ("older", 50)):
        (tmp_path / name).mkdir()
        os.utime(written(tmp_path / name, short_call()), (written_at, written_at))
    (tmp_path / "old" / "call.jsonl").write_text("{", encoding="utf-8")
    os.utime(tmp_path / "old" / "call.jsonl", (100, 100))
    assert newest_call(tmp_path) == tmp_path / "new" / "call.jsonl"
    assert run("--calls-folder", tmp_path, "--quiet").stdout.startswith("SAME: ")


def test_a_reader_of_the_dialogue_who_leaves_is_no_fault_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(screen: Screen, rows: list[Row]) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Screen, "rows", broken)
    with pytest.raises(BrokenPipeError):
        replay.callback(written(tmp_path, short_call()), tmp_path, None, None, False)  # type: ignore[misc] # - click has one


def test_a_folder_without_calls_is_the_users_to_know(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no call was recorded there; place one with make call, or name a journal"):
        run("--calls-folder", tmp_path)


def test_quiet_prints_the_verdict_only(tmp_path: Path) -> None:
    result = run(written(tmp_path, short_call()), "--quiet")
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith("SAME: ")


def test_the_folder_of_a_call_and_a_gzipped_journal_will_do(tmp_path: Path) -> None:
    told = run(written(tmp_path, short_call())).stdout.splitlines()[:-1]
    assert run(tmp_path).stdout.splitlines()[:-1] == told
    assert run(written(tmp_path, short_call(), "other.jsonl.gz")).stdout.splitlines()[:-1] == told


def test_until_a_moment(tmp_path: Path) -> None:
    result = run(written(tmp_path, short_call()), "--until", "1.5")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert float(lines[-3].split()[0]) <= 1.5
    assert sum(float(line.split()[2]) for line in lines if "of caller audio" in line and line.split()[1] == "caller") == 1.5
    assert "1.50 s of the call" in lines[-2]
    assert lines[-1] == "The call was not followed to its end."


def test_until_a_moment_every_command_before_it_is_due(tmp_path: Path) -> None:
    tape = short_call()
    (place,) = (number for number, line in enumerate(tape.lines) if '"CreateResponse"' in line and '"request":1' in line)
    del tape.lines[place]
    result = run(written(tmp_path, tape), "--quiet", "--until", "0.1")
    assert result.exit_code == 1
    assert result.stdout.startswith("DIFFERENT")


def test_one_of_a_kind_is_told_as_one(tmp_path: Path) -> None:
    tape = Tape()
    tape.feed(CallStarted("CA1"))
    del tape.lines[2:]
    assert run(written(tmp_path, tape), "--quiet").stdout.startswith("SAME: 1 event, 0 deadlines, 0 commands; ")


def test_there_is_no_moment_before_the_call(tmp_path: Path) -> None:
    assert run(written(tmp_path, short_call()), "--until", "-0.5").exit_code == 2


def test_what_was_said_is_shown_as_it_was(tmp_path: Path) -> None:
    tape = short_call()
    tape.lines.insert(1, tape.writer.remark(0.0, "[red]no markup[/red] :smile: 127.0.0.1"))
    assert "[red]no markup[/red] :smile: 127.0.0.1" in run(written(tmp_path, tape)).stdout


def test_what_a_peer_said_does_not_move_the_cursor(tmp_path: Path) -> None:
    tape = short_call()
    tape.lines[0] = tape.lines[0].replace('"call_id":"', '"call_id":"\\u001b[2J')
    tape.lines.insert(1, tape.writer.remark(0.0, "bye \x1b[31m"))
    tape.lines.insert(2, '{"t":0.0,"command":"SendMark","name":"\\u001b[1m"}')
    result = run(written(tmp_path, tape))
    assert "call \\x1b[2J" in result.stdout
    assert "bye \\x1b[31m" in result.stdout
    assert "\x1b" not in result.stdout
    screen, out = on_terminal()
    screen.rows([Row(0.0, Who.SHELL, "\x1b[2J")])
    assert "\x1b[2J" not in out.getvalue()
    assert "\\x1b[2J" in out.getvalue()


def test_a_difference_is_shown_with_its_place(tmp_path: Path) -> None:
    tape = short_call()
    place = next(number for number, line in enumerate(tape.lines) if '"ClearPlayback"' in line)
    tape.lines[place] = '{"t":2.98,"command":"SendMark","name":"9"}'
    result = run(written(tmp_path, tape), "--quiet")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"DIFFERENT at line {place + 1}, 2.980000 s"
    assert lines[1:3] == ["  then  SendMark(name='9')", "  now   ClearPlayback()"]
    assert lines[3:] == [f"  {number + 1:>6}  {tape.lines[number]}" for number in range(place - 3, place + 1)]


def test_the_dialogue_goes_on_after_a_difference(tmp_path: Path) -> None:
    tape = short_call()
    tape.lines.insert(30, '{"t":0.1,"command":"ClearPlayback"}')
    result = run(written(tmp_path, tape))
    assert result.exit_code == 1
    assert 'Close reason="the carrier sent stop"' in result.stdout


def test_lost_lines_make_the_verdict_unknown(tmp_path: Path) -> None:
    tape = short_call()
    tape.lines[200:220] = ['{"lost_lines":20}']
    result = run(written(tmp_path, tape))
    assert result.exit_code == 1
    assert "20 lines of the journal are lost here" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("UNKNOWN: the same as far as the journal is whole: ")


def test_a_journal_that_was_cut_off_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, short_call())
    path.write_bytes(path.read_bytes()[:-30])
    result = run(path, "--quiet")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "The journal's last line was cut off, as by a crash.",
        "The call was not followed to its end.",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty: this is no journal of trio-voice"),
        (b"RIFF\xff\xff", "this is no journal of trio-voice: its first line is no header (JSON is malformed"),
        (b"\n\n\n", "the file is empty: this is no journal of trio-voice"),
        (short_call().text.replace('"event"', "!", 1).encode(), "line 2 of the journal cannot be read (JSON is malformed"),
    ],
)
def test_what_is_no_journal_is_the_users_mistake(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        run(path)
    assert str(caught.value).startswith(f"{path}: {told}")


def test_a_journal_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path / "none.jsonl.gz", tmp_path, tmp_path / "20261121-165911-0aa6d81c"):
        with pytest.raises(UserError, match=r"no such journal; give the path of a call's call\.jsonl or of its folder"):
            run(path)


def test_the_id_of_a_call_will_do(tmp_path: Path) -> None:
    (tmp_path / "20261121-165911-0aa6d81c").mkdir()
    written(tmp_path / "20261121-165911-0aa6d81c", short_call())
    assert run("20261121-165911-0aa6d81c", "--calls-folder", tmp_path, "--quiet").stdout.startswith("SAME: ")
    assert run("20261121-165911-0aa6d81c", "--calls", tmp_path, "--quiet").stdout.startswith("SAME: ")


def test_an_id_that_no_call_has_is_the_users_mistake(tmp_path: Path) -> None:
    for name in ("20261121-165911-ffffffff", "call.jsonl"):
        with pytest.raises(UserError) as caught:
            run(name, "--calls-folder", tmp_path / "calls")
        told = f"{name}: no such journal, and no call in {tmp_path / 'calls'} has this id; trio-voice calls lists them"
        assert str(caught.value) == told


def test_what_is_there_comes_before_a_call_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path / "mine", tmp_path / "calls" / "mine"):
        folder.mkdir(parents=True)
    written(tmp_path / "mine", short_call())
    monkeypatch.chdir(tmp_path)
    assert run("mine", "--quiet").exit_code == 0


def test_the_help_promises_no_more_about_missing_lines_than_is_done(tmp_path: Path) -> None:
    tape = short_call()
    place = next(number for number, line in enumerate(tape.lines[50:], 50) if '"CallerAudio"' in line)
    until = next(number for number, line in enumerate(tape.lines[place + 1 :], place + 1) if '"command"' not in line)
    del tape.lines[place:until]
    assert run(written(tmp_path, tape), "--quiet").exit_code == 0
    told = " ".join(run("--help").stdout.split())
    assert "1: different, or the journal tells that lines of it were lost" in told
    assert "lines are missing" not in told
    assert "an event that somebody cut out, with all that it brought about, is missed only where" in told


def test_a_gzipped_journal_that_is_damaged_is_the_users_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, short_call(), "call.jsonl.gz")
    for damage in (path.read_bytes()[:-100], b"plain text"):
        path.write_bytes(damage)
        with pytest.raises(UserError, match="the journal cannot be read"):
            run(path)


# --- on a terminal


def on_terminal() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        color_system="standard",
        width=60,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=False,
    )
    return Screen(console), out


def test_a_terminal_gets_colours_and_a_column_that_wraps() -> None:
    screen, out = on_terminal()
    screen.rows([Row(1.5, Who.US, "ClearPlayback", Tone.CUT), Row(2.0, Who.MODEL, "word " * 12)])
    first, second, third, *_ = out.getvalue().splitlines()
    assert "\x1b[1;31mClearPlayback" in first
    assert "    1.500  \x1b[32mus    \x1b[0m" in first
    assert second.startswith("    2.000  \x1b[35mmodel \x1b[0m  word word")
    assert third.startswith(" " * 19 + "word")


# --- the picture


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is handed to the drawing, which has tests of its own."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(replay_command, "draw_timeline", lambda path, *rest: found.append((Path(path).read_text(), *rest)))
    return found


@pytest.mark.parametrize("name", ["call.jsonl", "call.jsonl.gz"])
def test_a_picture_is_drawn_from_the_journal_alone(tmp_path: Path, name: str, drawings: list[tuple[Any, ...]]) -> None:
    result = run(written(tmp_path, short_call(), name), "--quiet", "--timeline", tmp_path / "call.png")
    assert result.exit_code == 0
    assert drawings == [(short_call().text, b"", b"", tmp_path / "call.png")]
    assert result.stdout.splitlines()[-1] == f"drawn: {tmp_path / 'call.png'}"


def test_a_picture_has_the_voices_whose_recordings_lie_beside_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / "call.jsonl"
    assert recordings_beside(journal) == (b"", b"")
    write_wav(tmp_path / "caller.wav", [1, 2, 3], channels=1)
    assert recordings_beside(journal) == (np.array([1, 2, 3], "<i2").tobytes(), b"")
    write_wav(tmp_path / "call.wav", [10, 1, 20, 2, 30, 3], channels=2)
    assert recordings_beside(journal) == (np.array([1, 2, 3], "<i2").tobytes(), np.array([10, 20, 30], "<i2").tobytes())


def test_recordings_that_cannot_be_used_are_the_users_mistake(tmp_path: Path) -> None:
    both = tmp_path / "call.wav"
    write_wav(both, [1, 2], channels=2, rate_hz=16000)
    with pytest.raises(UserError, match="not a stereo recording of 16 bits at 8000 Hz"):
        recordings_beside(tmp_path / "call.jsonl")
    both.write_bytes(b"no recording")
    with pytest.raises(UserError, match="not a readable WAV file"):
        recordings_beside(tmp_path / "call.jsonl")


def test_a_real_picture(tmp_path: Path) -> None:
    target = tmp_path / "call.svg"
    assert run(written(tmp_path, short_call()), "--quiet", "--timeline", target).exit_code == 0
    assert target.read_text().startswith("<?xml")


def test_a_picture_that_cannot_be_drawn_is_the_users_mistake(tmp_path: Path) -> None:
    journal = written(tmp_path, short_call())
    with pytest.raises(UserError, match=r"a picture ends in \.png, \.svg, \.pdf"):
        run(journal, "--quiet", "--timeline", tmp_path / "call.bmp")
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"):
        run(journal, "--quiet", "--timeline", tmp_path / "nowhere" / "call.png")
