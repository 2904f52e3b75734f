"""From settings to what is kept of calls besides their journals: records, recordings, pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trio_voice.config import Settings
from trio_voice.recording.pictures import pictures_of_calls
from trio_voice.recording.recordings import recordings_in
from trio_voice.recording.uploads import uploads_to
from trio_voice.server.answering import Witness
from trio_voice.web.past_calls import PastCalls

if TYPE_CHECKING:
    from trio_voice.records.address import Address

DATABASE = "calls.db"


def records_address(settings: Settings) -> Address:
    """Where the records are. Raises ConfigError."""
    from trio_voice.records.address import file_address, read_address  # noqa: PLC0415 - SQLAlchemy takes 0.3 s to import

    if settings.records.url is None:
        return file_address(settings.server.calls_folder / DATABASE)
    return read_address(settings.records.url)


@asynccontextmanager
async def keeping(settings: Settings) -> AsyncIterator[tuple[Witness, ...]]:
    """Those who are there in every call, for the time of the block. Raises UserError."""
    calls_folder, records, recording = settings.server.calls_folder, settings.records, settings.recording
    witnesses: list[Witness] = []
    async with AsyncExitStack() as stack:
        if records.enabled:
            from trio_voice.records.keeper import records_of  # noqa: PLC0415 - SQLAlchemy takes 0.3 s to import

            kept = records_of(
                records_address(settings), calls_folder, spool_limit=records.spool_limit, full_numbers=records.full_numbers
            )
            witnesses.append((await stack.enter_async_context(kept)).attend)
        if recording.pictures:  # who comes later leaves earlier: a picture shows the finished recording
            witnesses.append((await stack.enter_async_context(pictures_of_calls())).attend)
        if recording.enabled:
            folder = recordings_folder(settings)
            if recording.s3_url is not None:  # before recordings: what is uploaded is finished
                uploads = uploads_to(recording.s3_url, folder, recording)
                witnesses.append((await stack.enter_async_context(uploads)).attend)
            witnesses.append((await stack.enter_async_context(recordings_in(folder, recording))).attend)
        yield tuple(witnesses)


@asynccontextmanager
async def past_calls(settings: Settings) -> AsyncIterator[PastCalls | None]:
    """What reads the records for the API, for the time of the block; None: none are kept."""
    if not settings.records.enabled:
        yield None
        return
    from trio_voice.recorded_calls import RecordedCalls  # noqa: PLC0415 - SQLAlchemy takes 0.3 s to import

    async with RecordedCalls.at(records_address(settings)) as calls:
        yield calls


def recordings_folder(settings: Settings) -> Path:
    """Where recordings are."""
    return settings.recording.folder or settings.server.calls_folder


def records_in_words(settings: Settings) -> str:
    """Where the records are, or that there are none."""
    if not settings.records.enabled:
        return "none (records.enabled is false)"
    return str(records_address(settings))


def recordings_in_words(settings: Settings) -> str:
    """Where the recordings are, or that there are none."""
    if not settings.recording.enabled:
        return "none (recording.enabled = true records calls)"
    path, url = recordings_folder(settings) / settings.recording.path, settings.recording.s3_url
    return str(path) if url is None else f"{path}, uploaded to {url}"
