"""Recorded telephone speech for the caller: Debian's Asterisk prompts, fetched without root; `make speech` runs this module.

The prompts are CC-BY-SA: they are fetched into a cache folder, never kept in this repository. `apt-get download` and
`dpkg-deb -x` need no root; on a fresh machine the package lists are empty and `apt-get update` would need root, so it is pointed
at lists of our own. The folder is `$TRIO_VOICE_SPEECH`, else `~/.cache/trio-voice/speech`.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from trio_voice.audio.wav import read_wav_8khz
from trio_voice.errors import TrioVoiceError
from trio_voice.phone.voice import Speech, join_utterance, prepare_speech

PACKAGES = ("asterisk-core-sounds-en-wav", "asterisk-core-sounds-en")
FOLDER_VARIABLE = "TRIO_VOICE_SPEECH"
_SOUNDS = Path("usr/share/asterisk/sounds/en_US_f_Allison")
_TRANSCRIPTS = Path("usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
_STEP_LIMIT_S = 180.0
_FAILED = "not-fetched.txt"
_FAILED_FOR_S = 24 * 3600.0
_POLITE = ("-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15")

Tell = Callable[[str], None]


class SpeechUnavailableError(TrioVoiceError):
    """No recorded speech can be had here; the text says why."""


@frozen
class Prompts:
    """The fetched prompts: `name` is a file's path without its ending, `transcripts` says what it says."""

    folder: Path
    transcripts: dict[str, str]

    def say(self, *names: str) -> Speech:
        """Return one utterance made of prompts, at a telephone's level, with the words that it says."""
        recordings = [read_wav_8khz(self.folder / _SOUNDS / f"{name}.wav") for name in names]
        text = " ".join(self.transcripts.get(name, name) for name in names)
        return prepare_speech(join_utterance(recordings), text)


def speech_folder() -> Path:
    """Return where the prompts are kept."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "trio-voice" / "speech"


def open_prompts(folder: Path) -> Prompts | None:
    """Open prompts that were fetched before; None: they were not."""
    unpacked = folder / "prompts"
    if not (unpacked / _SOUNDS).is_dir() or not (unpacked / _TRANSCRIPTS).is_file():
        return None
    lines = gzip.decompress((unpacked / _TRANSCRIPTS).read_bytes()).decode("utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith(";"))
    return Prompts(unpacked, {name.strip(): text.strip() for name, text in pairs})


def get_prompts(folder: Path, tell: Tell) -> Prompts:
    """Open the prompts, and fetch them first if need be; a fetch that failed is tried again after a day.

    Raises SpeechUnavailableError.
    """
    if prompts := open_prompts(folder):
        return prompts
    failed = folder / _FAILED
    if failed.is_file() and time.time() - failed.stat().st_mtime < _FAILED_FOR_S:
        raise SpeechUnavailableError(failed.read_text("utf-8").strip())
    try:
        return fetch_prompts(folder, tell)
    except SpeechUnavailableError as error:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            failed.write_text(f"{error}\n", "utf-8")
        except OSError:  # then it is tried again next time
            tell(f"{folder} cannot be written")
        raise


def fetch_prompts(folder: Path, tell: Tell) -> Prompts:
    """Download and unpack the prompts. `tell` is called with a line for each step. Raises SpeechUnavailableError."""
    apt_get, dpkg_deb = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt_get is None or dpkg_deb is None:
        raise SpeechUnavailableError("there is no apt-get and dpkg-deb on this machine")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as name:
            work = Path(name)
            packages = _download(apt_get, work, tell)
            for package in packages:
                _run([dpkg_deb, "-x", str(package), str(work / "prompts")], work)
            if not (folder / "prompts").exists():  # another process may have been faster
                (work / "prompts").rename(folder / "prompts")
    except OSError as error:
        raise SpeechUnavailableError(f"{folder} cannot be written ({error})") from None
    (folder / _FAILED).unlink(missing_ok=True)
    prompts = open_prompts(folder)
    if prompts is None:
        raise SpeechUnavailableError(f"the packages {' and '.join(PACKAGES)} hold no prompts where they used to")
    tell(f"{len(prompts.transcripts)} prompts are in {prompts.folder}")
    return prompts


def _download(apt_get: str, work: Path, tell: Tell) -> list[Path]:
    """Download the packages into `work`: with the machine's package lists, else with fresh lists of our own."""
    tell(f"downloading {' and '.join(PACKAGES)} (18 MB) ...")
    try:
        _run([apt_get, *_POLITE, "download", *PACKAGES], work)
    except SpeechUnavailableError:
        for sub_folder in ("lists/partial", "cache/archives/partial"):
            (work / sub_folder).mkdir(parents=True)
        ours = ["-o", f"Dir::State::lists={work}/lists", "-o", f"Dir::Cache={work}/cache"]
        tell("the machine's package lists do not have them: fetching fresh lists (no root needed) ...")
        try:
            _run([apt_get, *_POLITE, *ours, "update"], work)
        except SpeechUnavailableError as error:  # one source of many may be out of reach: the download will tell
            tell(f"apt-get update: {error}")
        _run([apt_get, *_POLITE, *ours, "download", *PACKAGES], work)
    return sorted(work.glob("*.deb"))


def _run(command: Sequence[str], folder: Path) -> None:
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(  # noqa: S603 - the program was found by `which`, the arguments are ours
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_STEP_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise SpeechUnavailableError(f"{Path(command[0]).name} took longer than {_STEP_LIMIT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SpeechUnavailableError(f"{Path(command[0]).name} failed: {said[-1] if said else error.returncode}") from None


def main() -> int:
    """Fetch the prompts, or say plainly why there are none."""

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    folder = speech_folder()
    if prompts := open_prompts(folder):
        tell(f"{len(prompts.transcripts)} prompts are in {prompts.folder}")
        return 0
    try:
        fetch_prompts(folder, tell)
    except SpeechUnavailableError as error:
        tell(
            f"no recorded speech: {error}. Calls are placed with a synthetic caller; `make call ARGS='--wav FILE'` takes any WAV"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
