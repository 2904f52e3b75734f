"""From settings to what is kept of calls besides their journals: records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from trio_voice.config import Settings
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
    if not settings.records.enabled:
        yield ()
        return
    from trio_voice.records.keeper import records_of  # noqa: PLC0415 - SQLAlchemy takes 0.3 s to import

    async with records_of(
        records_address(settings),
        settings.server.calls_folder,
        spool_limit=settings.records.spool_limit,
        full_numbers=settings.records.full_numbers,
    ) as records:
        yield (records.attend,)


@asynccontextmanager
async def past_calls(settings: Settings) -> AsyncIterator[PastCalls | None]:
    """What reads the records for the API, for the time of the block; None: none are kept."""
    if not settings.records.enabled:
        yield None
        return
    from trio_voice.recorded_calls import RecordedCalls  # noqa: PLC0415 - SQLAlchemy takes 0.3 s to import

    async with RecordedCalls.at(records_address(settings)) as calls:
        yield calls


def records_in_words(settings: Settings) -> str:
    """Where the records are, or that there are none."""
    if not settings.records.enabled:
        return "none (records.enabled is false)"
    return str(records_address(settings))
