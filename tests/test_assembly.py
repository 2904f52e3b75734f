"""A server, put together from settings: its parts know each other."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from attrs import define

from tests.web.asgi_client import Answer, get
from tests.web.test_app import ABOUT
from trio_voice.agent.agent import Agent
from trio_voice.assembly import METRICS_FOLDER, Assembly, Ground, assemble
from trio_voice.config import ModelAccess, Settings
from trio_voice.credentials import Credentials
from trio_voice.sections import ServerSettings
from trio_voice.server.admission import EntryFault
from trio_voice.server.directory import CallDirectory
from trio_voice.server.siblings import Siblings

TOKEN = "a-token-of-this-test"
TWILIO = Credentials(twilio_account_sid="AC" + "0" * 32, twilio_auth_tokens=("12345",))


@define
class Made:
    """A server, and what it was made of."""

    assembly: Assembly
    draining: trio.Event

    async def ask(self, path: str) -> Answer:
        return await get(self.assembly.app, path, {"Authorization": f"Bearer {TOKEN}"})


async def made(folder: Path, nursery: trio.Nursery, stack: AsyncExitStack, worker: int | None = None) -> Made:
    settings = Settings(
        server=ServerSettings(calls_folder=folder, max_calls=7, public_url="https://voice.example.com"),
        access=ModelAccess(base_url=None),
        credentials=TWILIO,
        agents={"billing": Agent()},
    )
    ground = Ground(
        settings=settings,
        about=ABOUT,
        base_url="ws://127.0.0.1:9/v1",
        token=TOKEN,
        media_base="wss://voice.example.com",
        siblings=None if worker is None else Siblings(folder, worker, TOKEN),
    )
    draining = trio.Event()
    return Made(await assemble(ground, CallDirectory(), draining, nursery, stack), draining)


@pytest.mark.parametrize("worker", [None, 3])
async def test_the_parts_know_each_other(tmp_path: Path, worker: int | None) -> None:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        server = await made(tmp_path, nursery, stack, worker)
        assembly = server.assembly
        assert assembly.answering.admission is assembly.admission
        assert assembly.metrics.watch in assembly.answering.plan.watches
        assert assembly.answering.hang_up is not None
        assert json.loads((await server.ask("/api/v1/server")).body)["places"] == 7
        assert json.loads((await server.ask("/api/v1/agents")).body) == {"agents": ["billing"]}
        assembly.admission.refuse(EntryFault.BUSY)
        label = "" if worker is None else 'worker="3",'
        page = (await server.ask("/metrics")).body.decode()
        assert f'trio_voice_calls_refused_total{{{label}reason="busy"}} 1.0' in page
        server.draining.set()
        assert (await server.ask("/readyz")).status == 503
        assert assembly.admission.welcome() is not None
        nursery.cancel_scope.cancel()


async def test_workers_tell_each_other_their_numbers(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        await made(tmp_path, nursery, stack, worker=2)
        page = trio.Path(tmp_path / METRICS_FOLDER / "2.prom")
        with trio.fail_after(10):
            while not await page.exists():  # noqa: ASYNC110 - that is how another process finds it
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_journal_hides_the_token(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        server = await made(tmp_path, nursery, stack)
        assert server.assembly.answering.redact(f"said {TOKEN}") == f"said {'*' * len(TOKEN)}"
        nursery.cancel_scope.cancel()
