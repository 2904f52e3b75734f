"""From settings to what the console shows, and to whom."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from trio_voice.config import Settings
from trio_voice.dialects.registry import DIALECTS
from trio_voice.sections import ConsoleAccess
from trio_voice.shown_settings import shown_settings
from trio_voice.web.console import ConsolePlan
from trio_voice.web.console_past import CallDigest, Elsewhere


def console_plan(settings: Settings) -> ConsolePlan | None:
    """Plan the console; None: there shall be none."""
    if settings.server.console is ConsoleAccess.OFF:
        return None
    return ConsolePlan(
        calls_folder=settings.server.calls_folder,
        settings=shown_settings(settings),
        is_local=settings.server.console is ConsoleAccess.LOCAL,
        recordings=_recordings(settings),
    )


def _recordings(settings: Settings) -> Elsewhere:
    """Tell where a past call's recording may be. Its journal does not tell the dialect: a path may depend on it."""
    recording, folder = settings.recording, settings.recording.folder or settings.server.calls_folder

    def elsewhere(call: CallDigest) -> list[Path]:
        try:
            began = datetime.fromisoformat(call.started_at)
        except ValueError:  # a journal that somebody has written by hand
            return []
        relative = {
            recording.path_of(call_id=call.call_id, call_sid=call.call_sid, dialect=dialect, started_at=began)
            for dialect in DIALECTS
        }
        return [folder / path for path in sorted(relative)]

    return elsewhere
