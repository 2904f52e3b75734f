"""The run file: how the other commands find a server that runs on this machine, and its token."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trio_voice.errors import UserError

NAME = "server.json"


@contextmanager
def run_file(
    calls_folder: Path, *, url: str, token: str, tell: Callable[[str], None], call_command: str = "make call"
) -> Iterator[Path | None]:
    """Have `server.json` in the calls folder, readable by this user alone, for the time of the block.

    While another server that runs has its own there, that is left alone: `tell` is told so, and what `call_command` reaches;
    there is no path. Raises UserError when the folder cannot be written.
    """
    with _only_one(calls_folder) as is_only:
        if not is_only:
            tell(_second(calls_folder, url, call_command))
            yield None
            return
        path = calls_folder / NAME
        facts = {"url": url, "token": token, "pid": os.getpid(), "calls_folder": str(calls_folder)}
        _write(path, facts)
        try:
            yield path
        finally:
            with suppress(OSError, ValueError):
                if json.loads(path.read_text(encoding="utf-8")) == facts:
                    path.unlink()


@contextmanager
def _only_one(calls_folder: Path) -> Iterator[bool]:
    """Lock the folder; False: another server has. The lock goes with its process, however that ends."""
    try:
        folder = os.open(calls_folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(_unwritable(calls_folder, error)) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_only = True
    except BlockingIOError:
        is_only = False
    except OSError:  # a file system without locks
        is_only = True
    try:
        yield is_only
    finally:
        os.close(folder)


def _second(calls_folder: Path, url: str, call_command: str) -> str:
    try:
        other = str(json.loads((calls_folder / NAME).read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        other = "its address is not known"
    return (
        f"Another server ({other}) runs with the calls folder {calls_folder}: {call_command} reaches that one. "
        f'To call this one: make call ARGS="--url {url}"; or give it a folder of its own with --calls.'
    )


def _write(path: Path, facts: dict[str, object]) -> None:
    try:
        number, draft = tempfile.mkstemp(prefix=f".{NAME}-", dir=path.parent)  # made with mode 0600
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        Path(draft).replace(path)
    except OSError as error:
        raise UserError(_unwritable(path.parent, error)) from None


def make_calls_folder(calls_folder: Path) -> None:
    """Make the folder, for this user alone, if it is not there. Raises UserError when that fails or it cannot be written."""
    try:
        calls_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(_unwritable(calls_folder, error)) from None
    if not os.access(calls_folder, os.W_OK | os.X_OK):
        raise UserError(_unwritable(calls_folder, PermissionError(13, "Permission denied")))


def _unwritable(calls_folder: Path, error: OSError) -> str:
    return (
        f"the calls folder {calls_folder} cannot be written ({error.strerror or error}); "
        "give another one with server.calls_folder or --calls"
    )
