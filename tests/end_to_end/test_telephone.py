"""`call` as a process: a telephone that starts the server, talks to it, and keeps the call."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from tests.end_to_end.test_program import environment
from trio_voice.audio.wav import read_wav_8khz, write_wav_8khz
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.storage.journal_reader import read_header

LIMIT_S = 60.0
BYTES_PER_S = 16000


async def call(folder: Path, *flags: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    command = [sys.executable, "-m", "trio_voice", "call", *flags]
    run = partial(
        trio.run_process, command, check=False, env=environment(), cwd=folder, capture_stdout=True, stderr=subprocess.STDOUT
    )
    with trio.fail_after(LIMIT_S):
        done = await run()
    return done.returncode, done.stdout.decode()


async def test_r34_a_call_is_placed_with_recorded_speech_shown_and_kept_as_sound_journal_and_picture(tmp_path: Path) -> None:
    write_wav_8khz(tmp_path / "me.wav", synthetic_speech(3, 1.0))
    (tmp_path / "trio-voice.toml").write_text('agent.greeting = "Say: Good morning."\n', "utf-8")
    code, shown = await call(tmp_path, "--wav", "me.wav", "--hang-up-at", "5")
    assert code == 0, shown
    for what in ("response created", "the agent is heard", "caller  me.wav", "turn committed", "The call lasted", "caller.wav"):
        assert what in shown
    (folder,) = [path for path in (tmp_path / "calls").iterdir() if path.is_dir() and not path.name.startswith(".")]
    assert folder.name in shown
    assert {path.name for path in folder.iterdir()} >= {"caller.wav", "call.jsonl", "call.png"}
    assert (folder / "call.png").read_bytes().startswith(b"\x89PNG")
    header, *lines = (folder / "call.jsonl").read_text("utf-8").splitlines()
    assert read_header(header).call_id == folder.name
    assert '"command":"Close"' in lines[-1]
    heard = read_wav_8khz(folder / "caller.wav")
    assert len(heard) // BYTES_PER_S in (4, 5)  # it is recorded from the answer to the end
    assert max(heard[: 2 * BYTES_PER_S]) > 0  # the greeting is in it


async def test_a_caller_who_can_reach_nobody_is_told_so_in_one_line(tmp_path: Path) -> None:
    code, shown = await call(tmp_path, "--url", "ws://127.0.0.1:9/media/twilio")
    assert code == 2
    assert "Traceback" not in shown
    assert shown.strip().splitlines()[-1].startswith("trio-voice: ws://127.0.0.1:9/media/twilio: nobody answers there")
