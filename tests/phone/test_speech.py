"""Fetching the prompts, with a pretended apt: which commands run, and what is said when they fail."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from trio_voice.audio.wav import write_wav_8khz
from trio_voice.phone import speech
from trio_voice.phone.speech import SpeechUnavailableError, fetch_prompts, get_prompts, open_prompts, speech_folder
from trio_voice.phone.synthetic import synthetic_speech


@define
class PretendedApt:
    """Stands in for `subprocess.run`: `without_lists` fails the first download, `offline` every one."""

    without_lists: bool = False
    offline: bool = False
    ran: list[str] = field(factory=list)

    def run(self, command: Sequence[str], *, cwd: Path, **_: Any) -> None:
        program, *arguments = command
        what = next(word for word in arguments if word in {"download", "update", "-x"})
        own_lists = any(word.startswith("Dir::State::lists=") for word in arguments)
        self.ran.append(f"{Path(program).name} {what}" + (" (own lists)" if own_lists else ""))
        if what == "download":
            if self.offline or (self.without_lists and not own_lists):
                raise subprocess.CalledProcessError(100, program, stderr=b"W: hm\nE: Unable to locate package\n")
            (cwd / "a.deb").touch()
            (cwd / "b.deb").touch()
        elif what == "update":
            assert (cwd / "lists/partial").is_dir()
            raise subprocess.CalledProcessError(100, program, stderr=b"E: one of many sources failed\n")
        else:
            unpack(Path(arguments[-1]), Path(arguments[1]).name)


def unpack(target: Path, package: str) -> None:
    if package == "a.deb":
        sounds = target / "usr/share/asterisk/sounds/en_US_f_Allison"
        sounds.mkdir(parents=True, exist_ok=True)
        write_wav_8khz(sounds / "hello.wav", synthetic_speech(1, 0.5))
    else:
        texts = target / "usr/share/doc/asterisk-core-sounds-en"
        texts.mkdir(parents=True, exist_ok=True)
        (texts / "core-sounds-en.txt.gz").write_bytes(gzip.compress(b"; sounds: all\nhello: Hello: you.\n"))


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> PretendedApt:
    apt = PretendedApt()
    monkeypatch.setattr(subprocess, "run", apt.run)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return apt


def ignore(line: str) -> None:
    """Nobody listens."""


def test_the_packages_are_downloaded_and_unpacked_once(apt: PretendedApt, tmp_path: Path) -> None:
    assert open_prompts(tmp_path) is None
    prompts = get_prompts(tmp_path, ignore)
    assert apt.ran == ["apt-get download", "dpkg-deb -x", "dpkg-deb -x"]
    assert prompts.transcripts == {"hello": "Hello: you."}
    said = prompts.say("hello", "hello")
    assert said.text == "Hello: you. Hello: you."
    assert 1.0 <= said.frames * 0.02 <= 1.2
    assert [path.name for path in tmp_path.iterdir()] == ["prompts"]
    assert get_prompts(tmp_path, ignore) == prompts
    assert len(apt.ran) == 3


def test_without_package_lists_they_are_fetched_into_the_cache_and_a_failed_update_is_no_end(
    apt: PretendedApt, tmp_path: Path
) -> None:
    apt.without_lists = True
    told: list[str] = []
    fetch_prompts(tmp_path, told.append)
    assert apt.ran[:3] == ["apt-get download", "apt-get update (own lists)", "apt-get download (own lists)"]
    assert told[2] == "apt-get update: apt-get failed: E: one of many sources failed"


def test_offline_is_said_and_not_tried_again_for_a_day(apt: PretendedApt, tmp_path: Path) -> None:
    apt.offline = True
    with pytest.raises(SpeechUnavailableError, match="apt-get failed: E: Unable to locate package"):
        get_prompts(tmp_path, ignore)
    tries = len(apt.ran)
    with pytest.raises(SpeechUnavailableError, match="Unable to locate package"):
        get_prompts(tmp_path, ignore)
    assert len(apt.ran) == tries
    (note,) = tmp_path.iterdir()
    os.utime(note, (time.time() - 90000, time.time() - 90000))
    apt.offline = False
    assert get_prompts(tmp_path, ignore).transcripts
    assert not note.exists()


def test_a_machine_without_apt_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    told: list[str] = []
    with pytest.raises(SpeechUnavailableError, match="no apt-get"):
        get_prompts(tmp_path / "new", told.append)
    assert told == []
    with pytest.raises(SpeechUnavailableError, match="no apt-get"):
        fetch_prompts(tmp_path, ignore)


def test_a_download_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, apt: PretendedApt, tmp_path: Path) -> None:
    def run(command: Sequence[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(list(command), timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SpeechUnavailableError, match="apt-get took longer than 180 s"):
        fetch_prompts(tmp_path, ignore)


def test_a_folder_that_cannot_be_written_is_said_so(apt: PretendedApt, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpeechUnavailableError, match="cannot be written"):
        fetch_prompts(tmp_path / "file" / "speech", ignore)


def test_where_the_prompts_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIO_VOICE_SPEECH", str(tmp_path))
    assert speech_folder() == tmp_path
    monkeypatch.delenv("TRIO_VOICE_SPEECH")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert speech_folder() == Path("/var/cache/me/trio-voice/speech")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert speech_folder() == Path.home() / ".cache/trio-voice/speech"


def test_make_speech_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, apt: PretendedApt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIO_VOICE_SPEECH", str(tmp_path))
    apt.offline = True
    assert speech.main() == 0
    assert "Calls are placed with a synthetic caller" in capsys.readouterr().err
    apt.offline = False
    assert speech.main() == 0
    assert "1 prompts are in" in capsys.readouterr().err
    assert speech.main() == 0
    assert apt.ran[-1] == "dpkg-deb -x"
