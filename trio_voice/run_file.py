"""The run file: how the other commands find a server that runs on this machine, and its token."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trio_voice.errors import UserError

NAME = "server.json"


@contextmanager
def run_file(calls_folder: Path, *, url: str, token: str) -> Iterator[Path]:
    """Have `server.json` in the calls folder, readable by this user alone, for the time of the block.

    A file that another server has put there meanwhile is left alone. Raises UserError when the folder cannot be written.
    """
    path = calls_folder / NAME
    facts = {"url": url, "token": token, "pid": os.getpid(), "calls_folder": str(calls_folder)}
    try:
        number, draft = tempfile.mkstemp(prefix=f".{NAME}-", dir=calls_folder)  # made with mode 0600
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        Path(draft).replace(path)
    except OSError as error:
        raise UserError(_unwritable(calls_folder, error)) from None
    try:
        yield path
    finally:
        with suppress(OSError, ValueError):
            if json.loads(path.read_text(encoding="utf-8")) == facts:
                path.unlink()


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
