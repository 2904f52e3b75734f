"""Calls that are not in the database yet: one small file each, written when the call begins.

A file holds what the call's journal does not tell; the journal has the rest. So a database that is away for a day, and a server
that is killed, lose nothing: whoever opens the folder next records what is left in it. The number of files is bounded.

All functions do I/O and are for a thread.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import msgspec
from attrs import define

from trio_voice.storage.call_record import CallFacts, CallRecord, Outcome
from trio_voice.storage.digest import read_record
from trio_voice.storage.journal import JOURNAL

SPOOL = ".unrecorded"
LIVE_FOR_S = 60.0
"""A journal without an end that was written to so lately may be that of a call in progress, in another process."""
_CALL_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
_END = b'"command":"Close"'
_TAIL_BYTES = 8192


@define
class Spool:
    """The folder of one calls folder."""

    calls_folder: Path
    limit: int = 10_000

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.calls_folder / SPOOL

    def put(self, facts: CallFacts) -> bool:
        """Keep what is known of a call; False: there is no room. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(self.waiting()) >= self.limit:
            return False
        path = self._path(facts.call_id)
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(facts))
        draft.replace(path)
        return True

    def remove(self, call_id: str) -> None:
        """The call is in the database. Raises OSError."""
        self._path(call_id).unlink(missing_ok=True)

    def set_aside(self, call_id: str) -> None:
        """The database will never take this call: keep the file out of the way, for people. Raises OSError."""
        path = self._path(call_id)
        if path.exists():
            path.replace(path.with_suffix(".refused"))

    def waiting(self) -> set[str]:
        """The calls in the spool."""
        try:
            return {path.stem for path in self.folder.iterdir() if path.suffix == ".json"}
        except OSError:
            return set()

    def journals(self) -> set[str]:
        """The calls that have a folder."""
        try:
            return {path.name for path in self.calls_folder.iterdir() if _CALL_ID.fullmatch(path.name)}
        except OSError:
            return set()

    def is_over(self, call_id: str) -> bool:
        """Whether a call that is not ours has ended, as far as its files tell."""
        journal = self.calls_folder / call_id / JOURNAL
        try:
            written_at = journal.stat().st_mtime
            with journal.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                has_end = _END in file.read()
        except OSError:
            try:
                written_at, has_end = self._path(call_id).stat().st_mtime, False
            except OSError:
                return True
        return has_end or time.time() - written_at > LIVE_FOR_S

    def record(self, call_id: str, facts: CallFacts | None = None) -> CallRecord | None:
        """Make a call's record from what there is of it; None: there is nothing."""
        facts = facts or self._facts(call_id)
        try:
            with (self.calls_folder / call_id / JOURNAL).open(encoding="utf-8", errors="replace") as lines:
                return read_record(lines, facts)
        except OSError:
            if facts is None:
                return None
            return CallRecord(facts=facts, outcome=Outcome.CUT_OFF, end_reason=None, duration_s=0.0)

    def _facts(self, call_id: str) -> CallFacts | None:
        try:
            return msgspec.json.decode(self._path(call_id).read_bytes(), type=CallFacts)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    def _path(self, call_id: str) -> Path:
        return self.folder / f"{call_id}.json"
