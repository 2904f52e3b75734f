"""From settings to what is kept of calls besides their journals: records, recordings, pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from attrs import frozen

from trio_voice.config import Settings
from trio_voice.recorded_calls import RecordedCalls
from trio_voice.recording.pictures import pictures_of_calls
from trio_voice.recording.recordings import recordings_in
from trio_voice.recording.uploads import uploads_to
from trio_voice.records.address import Address, file_address, read_address
from trio_voice.records.keeper import records_of
from trio_voice.server.answering import Witness
from trio_voice.server.metrics import Backlog
from trio_voice.web.past_calls import PastCalls

DATABASE = "calls.db"


@frozen
class Keeping:
    """What is kept: who is there in every call for it, and what of it is still to be done, by its name in the metrics."""

    witnesses: tuple[Witness, ...]
    backlogs: Mapping[str, Backlog]


def records_address(settings: Settings) -> Address:
    """Where the records are. Raises ConfigError."""
    if settings.records.url is None:
        return file_address(settings.server.calls_folder / DATABASE)
    return read_address(settings.records.url)


@asynccontextmanager
async def keeping(settings: Settings) -> AsyncIterator[Keeping]:
    """Keep what the settings say, for the time of the block. Raises UserError."""
    calls_folder, records, recording = settings.server.calls_folder, settings.records, settings.recording
    witnesses: list[Witness] = []
    backlogs: dict[str, Backlog] = {}
    async with AsyncExitStack() as stack:
        if records.enabled:
            keeper = await stack.enter_async_context(
                records_of(
                    records_address(settings), calls_folder, spool_limit=records.spool_limit, full_numbers=records.full_numbers
                )
            )
            witnesses.append(keeper.attend)
            backlogs["records"] = Backlog(lambda: keeper.waiting, lambda: keeper.problem)
        if recording.pictures:  # who comes later leaves earlier: a picture shows the finished recording
            witnesses.append((await stack.enter_async_context(pictures_of_calls())).attend)
        if recording.enabled:
            folder = recordings_folder(settings)
            if recording.s3_url is not None:  # before recordings: what is uploaded is finished
                uploads = await stack.enter_async_context(uploads_to(recording.s3_url, folder, recording))
                witnesses.append(uploads.attend)
                backlogs["uploads"] = Backlog(lambda: uploads.waiting, lambda: uploads.problem)
            witnesses.append((await stack.enter_async_context(recordings_in(folder, recording))).attend)
        yield Keeping(tuple(witnesses), backlogs)


@asynccontextmanager
async def past_calls(settings: Settings) -> AsyncIterator[PastCalls | None]:
    """What reads the records for the API, for the time of the block; None: none are kept."""
    if not settings.records.enabled:
        yield None
        return
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
