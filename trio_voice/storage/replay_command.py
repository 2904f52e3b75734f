"""`trio-voice replay`: read a call's journal as a dialogue, and live the call again."""

from __future__ import annotations

import gzip
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from attrs import define
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trio_voice.audio.wav import read_wav_8khz
from trio_voice.errors import UserError
from trio_voice.storage.dialogue import Dialogue, Row, Tone, Who
from trio_voice.storage.journal import JOURNAL
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.printable import printable
from trio_voice.storage.replay import Difference, Replay, Replayed, Verdict
from trio_voice.storage.screen import PipedConsole
from trio_voice.storage.timeline import draw_timeline

BOTH_SIDES = ("recording.wav", "call.wav")
"""A call's recording: the server's, and the test caller's. The caller is left, the agent right."""
HEARD = "caller.wav"
STEREO_8KHZ = (2, 2, 8000)
PICTURES = (".png", ".svg", ".pdf")
LONGEST_LINE = 200
LEGEND = (
    "seconds since the call began, and whose doing it is: the caller's, the model's, the shell's (tools, sockets, people),\n"
    "a timer's (a deadline of the state machine has passed), ours (what the state machine commands)"
)
_STYLES = {Who.CALLER: "cyan", Who.MODEL: "magenta", Who.SHELL: "blue", Who.TIMER: "yellow", Who.US: "green"}
_TONES = {Tone.PLAIN: "", Tone.REFUSAL: "yellow", Tone.CUT: "bold red", Tone.FAULT: "bold white on red"}
_EXIT_CODES = {Verdict.SAME: 0, Verdict.DIFFERENT: 1, Verdict.UNKNOWN: 1}


@click.command("replay")
@click.argument("file", required=False, metavar="[CALL]", type=click.Path(path_type=Path))
@click.option(
    "--calls-folder",
    "--calls",
    type=click.Path(path_type=Path),
    default=Path("calls"),
    show_default=True,
    help="Where the newest call, or the one with the id, is.",
)
@click.option("--until", "until_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop at this moment of the call.")
@click.option(
    "--timeline", "picture", type=click.Path(path_type=Path), metavar="PICTURE", help="Draw the call (.png, .svg or .pdf)."
)
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
def replay(file: Path | None, calls_folder: Path, until_s: float | None, picture: Path | None, quiet: bool) -> None:
    """Read the journal of a call as a dialogue, and live the call again.

    CALL is a call's id, its journal (also gzipped) or its folder; left out: the newest call. The same events at the same moments
    must bring about the same commands; if they do not, the first difference is shown.

    Exit code 0: the same. 1: different, or the journal tells that lines of it were lost, as when the disk was full; what came
    after them cannot be judged. 2: there is no such journal.

    Events are what is replayed, so an event that somebody cut out, with all that it brought about, is missed only where something
    else depended on it.
    """
    file = named_call(file, calls_folder) if file else newest_call(calls_folder)
    path = file / JOURNAL if file.is_dir() else file
    if picture is not None and picture.suffix not in PICTURES:
        raise UserError(f"--timeline {picture}: a picture ends in {', '.join(PICTURES)}")
    screen = Screen(PipedConsole(highlight=False, markup=False, emoji=False))
    began = time.perf_counter()
    with opened_journal(path) as lines:
        journal = JournalReader(lines)
        if not quiet:
            screen.heading(f"call {journal.header.call_id}, {journal.header.started_at}, trio-voice {journal.header.version}")
            screen.legend(LEGEND)
        replayed = _live(journal, screen if not quiet else None, until_s)
    screen.verdict(replayed, time.perf_counter() - began, cut=journal.cut)
    if picture is not None:
        draw(path, picture)
        screen.heading(f"drawn: {picture}")
    raise click.exceptions.Exit(_EXIT_CODES[replayed.verdict])


def newest_call(calls_folder: Path) -> Path:
    """Find the journal that was written to last. Raises UserError when there is none."""
    journals = {path: path.stat().st_mtime for path in calls_folder.glob(f"*/{JOURNAL}")}
    if not journals:
        raise UserError(f"{calls_folder}: no call was recorded there; place one with make call, or name a journal")
    return max(journals, key=journals.__getitem__)


def named_call(name: Path, calls_folder: Path) -> Path:
    """Find what a user named: a path that is there, or else the call with this id. Raises UserError when it is neither."""
    if name.exists() or len(name.parts) != 1:
        return name
    call = calls_folder / name
    if name.suffix or not call.is_dir():
        raise UserError(f"{name}: no such journal, and no call in {calls_folder} has this id; trio-voice calls lists them")
    return call


def _live(journal: JournalReader, screen: Screen | None, until_s: float | None) -> Replayed:
    """Replay line by line, and show what was replayed; after a difference the dialogue goes on, the replay does not."""
    replaying, dialogue = Replay(journal.header), Dialogue(journal.header.bytes_per_ms)
    whole = False
    for line in journal:
        if until_s is not None and line.t > until_s:
            whole = True
            break
        if not replaying.over:
            replaying.take(line)
        if screen is not None:
            screen.rows(dialogue.take(line))
    if screen is not None:
        screen.rows(dialogue.finish())
    return replaying.finish(whole=whole)


@contextmanager
def opened_journal(path: Path) -> Iterator[Iterator[str]]:
    """Open a journal's lines. Raises UserError, also for what goes wrong while they are read, with the path in front."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", errors="replace")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", errors="replace") as lines
        ):
            yield iter(lines)
    except FileNotFoundError:
        raise UserError(f"{path}: no such journal; give the path of a call's {JOURNAL} or of its folder") from None
    except BrokenPipeError:  # what is printed is not read any more; the journal is well
        raise
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: the journal cannot be read ({error})") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def draw(path: Path, picture: Path) -> None:
    """Draw a call's picture, with the voices if their recordings lie beside the journal. Raises UserError."""
    heard, said = recordings_beside(path)
    with TemporaryDirectory() as folder:
        if path.suffix == ".gz":
            plain = Path(folder) / JOURNAL
            plain.write_bytes(gzip.decompress(path.read_bytes()))
            path = plain
        try:
            draw_timeline(path, heard, said, picture)
        except OSError as error:
            raise UserError(f"--timeline {picture}: cannot be written ({error.strerror})") from None


def recordings_beside(journal: Path) -> tuple[bytes, bytes]:
    """What the caller heard and said, as signed 16-bit PCM at 8000 Hz; empty where there is no recording."""
    heard = journal.with_name(HEARD)
    both = next((path for name in BOTH_SIDES if (path := journal.with_name(name)).exists()), None)
    if both is not None:
        try:
            with wave.open(str(both), "rb") as file:
                if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != STEREO_8KHZ:
                    raise UserError(f"{both}: not a stereo recording of 16 bits at 8000 Hz; remove it to draw without voices")
                channels = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        except (wave.Error, EOFError, OSError) as error:
            raise UserError(f"{both}: not a readable WAV file ({error}); remove it to draw without voices") from None
        return channels[:, 1].tobytes(), channels[:, 0].tobytes()
    return read_wav_8khz(heard) if heard.exists() else b"", b""


@define
class Screen:
    """Where the dialogue is shown: a table in colours on a terminal, plain lines anywhere else."""

    console: Console

    def heading(self, text: str) -> None:
        """Show a line."""
        self._line(Text(printable(text), "bold"))

    def legend(self, text: str) -> None:
        """Show what the columns are."""
        self._line(Text(text, "dim"))

    def rows(self, rows: list[Row]) -> None:
        """Show rows of the dialogue."""
        for row in rows:
            what = printable(row.what)
            if self.console.is_terminal:
                table = Table.grid(padding=(0, 2))
                table.add_column(justify="right", min_width=9)
                table.add_column(min_width=6)
                table.add_column(overflow="fold")
                table.add_row(f"{row.t:.3f}", Text(row.who.value, _STYLES[row.who]), Text(what, _TONES[row.tone]))
                self.console.print(table)
            else:
                self._line(Text(f"{row.t:9.3f}  {row.who.value:<6}  {what}"))

    def verdict(self, replayed: Replayed, took_s: float, *, cut: bool) -> None:
        """Show what the replay found."""
        lived = (
            f"{_count(replayed.events, 'event')}, {_count(replayed.timers, 'deadline')}, {_count(replayed.commands, 'command')}; "
            f"{replayed.last_t:.2f} s of the call in {took_s:.2f} s"
        )
        match replayed:
            case Replayed(difference=Difference() as difference):
                self._line(Text(f"DIFFERENT at line {difference.line}, {difference.t:.6f} s", "bold red"))
                self._line(Text(printable(f"  then  {difference.expected}")))
                self._line(Text(printable(f"  now   {difference.got}")))
                first = difference.line - len(difference.context) + 1
                for number, line in enumerate(difference.context, first):
                    self._line(Text(printable(f"  {number:>6}  {line[:LONGEST_LINE]}"), "dim"))
            case Replayed(verdict=Verdict.UNKNOWN):
                self._line(Text(f"UNKNOWN: the same as far as the journal is whole: {lived}", "bold yellow"))
            case _:
                self._line(Text(f"SAME: {lived}", "bold green"))
        if cut:
            self._line(Text("The journal's last line was cut off, as by a crash."))
        if not replayed.ended and replayed.verdict is Verdict.SAME:
            self._line(Text("The call was not followed to its end."))

    def _line(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
