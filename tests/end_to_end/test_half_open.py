"""A model whose process stands still: its sockets stay open, TCP acknowledges all that fits, and nothing is said any more."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import trio

from tests.end_to_end.test_model_process import model
from tests.end_to_end.test_program import GREETING, code_of, placed, running

LIMIT_S = 20.0


def journal_of_the_call(folder: Path) -> list[dict[str, object]]:
    (path,) = (folder / "calls").glob("*/call.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.prove
async def test_r26_a_model_that_stands_still_is_noticed_and_the_caller_hears_an_apology(tmp_path: Path) -> None:
    async with model() as (process, port, _):
        flags = ("--model", f"ws://127.0.0.1:{port}/v1", "--set", "call.reconnect_limit_s=1", *GREETING)
        async with running(tmp_path, *flags) as (server, _facts):
            caller, out = await placed(tmp_path)
            os.kill(process.pid, signal.SIGSTOP)
            try:
                with trio.fail_after(LIMIT_S):
                    assert await caller.wait() == 1
            finally:
                os.kill(process.pid, signal.SIGCONT)
            server.send_signal(signal.SIGTERM)
            assert await code_of(server) == 0
    assert "FAILED: the caller heard an apology" in await trio.Path(out).read_text("utf-8")
    journal = journal_of_the_call(tmp_path)
    lost = next(line for line in journal if line.get("event") == "SessionLost")
    assert lost["reason"] == "the connection to the model broke: no sign of life within 1.5 s"
    (closed,) = (line for line in journal if line.get("command") == "Close")
    assert closed["reason"] == "no model session within the limit"
