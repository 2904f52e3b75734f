"""Records, read for the API from a real database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.applications import Starlette

from tests.records.samples import call_id, record
from tests.server.rig import no_threads
from tests.web.asgi_client import get
from trio_voice.recorded_calls import CLOSE_LIMIT_S, RecordedCalls
from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.storage.call_record import Outcome
from trio_voice.storage.threads import NO_THREAD
from trio_voice.web.access import Access
from trio_voice.web.past_calls import PastCallsApi, PastCallsFailedError, PastCallsQuery


async def test_what_was_recorded_is_read_again_and_again(tmp_path: Path) -> None:
    database = Database(file_address(tmp_path / "calls.db"))
    database.put(record(1))
    database.put(record(2, outcome=Outcome.FAILED))
    async with RecordedCalls.at(file_address(tmp_path / "calls.db")) as calls:
        for _ in range(3):
            assert [row["call_id"] for row in await calls.listed(PastCallsQuery())] == [call_id(2), call_id(1)]
        assert [row["call_id"] for row in await calls.listed(PastCallsQuery(outcome="failed", limit=1))] == [call_id(2)]
        found = await calls.found(call_id(1))
        assert found is not None
        assert (found["call"]["call_id"], len(found["turns"]) > 0) == (call_id(1), True)
        assert await calls.found("nobody") is None
        database.put(record(3))
        assert len(await calls.listed(PastCallsQuery())) == 3


async def test_records_that_are_not_there_are_told_in_a_sentence(tmp_path: Path) -> None:
    async with RecordedCalls.at(file_address(tmp_path / "none" / "calls.db")) as calls:
        with pytest.raises(PastCallsFailedError, match="the records cannot be read now: "):
            await calls.listed(PastCallsQuery())


async def test_no_call_has_a_name_that_the_database_does_not_take(tmp_path: Path) -> None:
    Database(file_address(tmp_path / "calls.db")).put(record(1))
    async with RecordedCalls.at(file_address(tmp_path / "calls.db")) as calls:
        assert await calls.found("half a character: \ud83d") is None


async def test_where_there_is_no_thread_reading_fails_in_a_sentence_and_the_end_is_quiet(tmp_path: Path) -> None:
    Database(file_address(tmp_path / "calls.db")).put(record(1))
    with no_threads():
        async with RecordedCalls.at(file_address(tmp_path / "calls.db")) as calls:
            with pytest.raises(PastCallsFailedError, match=f"the records cannot be read now: .*{NO_THREAD}"):
                await calls.listed(PastCallsQuery())


async def test_a_database_that_does_not_let_go_is_left_at_the_end(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_arguments: object, **_options: object) -> None:
        await trio.sleep_forever()

    async with RecordedCalls.at(file_address(tmp_path / "calls.db")):
        monkeypatch.setattr(trio.to_thread, "run_sync", hang)
    assert trio.current_time() == CLOSE_LIMIT_S


async def test_what_is_read_can_be_told_over_the_api(tmp_path: Path) -> None:
    Database(file_address(tmp_path / "calls.db")).put(record(1))
    async with RecordedCalls.at(file_address(tmp_path / "calls.db")) as calls:
        api = PastCallsApi(access=Access("t"), source=calls)
        app = Starlette(routes=api.routes())
        for path in ("", f"/{call_id(1)}"):
            answer = await get(app, f"/api/v1/past-calls{path}", {"Authorization": "Bearer t"})
            assert answer.status == 200
            told = json.loads(answer.body)
            call = told["calls"][0] if path == "" else told["call"]
            assert call["call_id"] == call_id(1)
