"""The program with a certificate of its own: pages, the API, and a call over TLS, with one process and with several."""

from __future__ import annotations

import json
import re
import signal
import ssl
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.end_to_end.test_program import GREETING, START_LIMIT_S, called, code_of, environment, running, written
from tests.server.certificate_files import HOST, client_context, pair_in
from trio_voice.server.certificates import LOOK_EVERY_S

OPS = Path(__file__).resolve().parents[2] / "ops"


async def page(url: str, path: str, context: ssl.SSLContext) -> str:
    """A page of the server that HOST names."""
    tcp = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    with trio.fail_after(10):
        async with trio.SSLStream(tcp, context, server_hostname=HOST) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            answer = b""
            while data := await stream.receive_some():
                answer += data
    return answer.decode()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_pages_and_calls_over_tls(tmp_path: Path, workers: str) -> None:
    pair = pair_in(tmp_path)
    files = ("--set", f"server.tls_certificate_file={pair.certificate}", "--set", f"server.tls_key_file={pair.key}")
    async with running(tmp_path, *files, *GREETING, "--workers", workers) as (process, facts):
        assert facts["url"].startswith("https://127.0.0.1:")
        answer = await page(facts["url"], "/healthz", client_context())
        assert answer.startswith("HTTP/1.1 200 ")
        signed_in = await page(facts["url"], f"/?token={facts['token']}", client_context())
        assert "; secure" in signed_in.lower()  # the cookie is for TLS alone
        code, said = await called(tmp_path, "--hang-up-at", "3")
        assert "the agent is heard" in said
        assert code == 0
        process.send_signal(signal.SIGTERM)
        assert await code_of(process) == 0
    assert f"wss{facts['url'].removeprefix('https')}/media/twilio" in (tmp_path / "out.txt").read_text("utf-8")
    assert "Traceback" not in (tmp_path / "err.txt").read_text("utf-8")


@pytest.mark.parametrize("tls", [False, True])
async def test_the_health_check_of_the_image_asks_where_the_server_answers(tmp_path: Path, tls: bool) -> None:
    words = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", (OPS / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert words is not None
    python, *arguments = json.loads(words[1])
    assert python == "python"
    environ = environment() | {"TRIO_VOICE_SERVER_CALLS_FOLDER": str(tmp_path / "calls")}
    check = partial(trio.run_process, [sys.executable, *arguments], env=environ, check=False, capture_stderr=True)
    pair = pair_in(tmp_path)
    files = ("--set", f"server.tls_certificate_file={pair.certificate}", "--set", f"server.tls_key_file={pair.key}")
    async with running(tmp_path, *(files if tls else ())) as (process, _):
        asked = await check()
        assert (asked.returncode, asked.stderr) == (0, b"")
        process.send_signal(signal.SIGTERM)
        assert await code_of(process) == 0
    assert (await check()).returncode == 1
    assert "Traceback" not in (tmp_path / "err.txt").read_text("utf-8")


@pytest.mark.prove
async def test_a_renewed_certificate_is_in_use_without_a_new_start(tmp_path: Path) -> None:
    pair = pair_in(tmp_path, "old.example")
    files = ("--set", f"server.tls_certificate_file={pair.certificate}", "--set", f"server.tls_key_file={pair.key}")
    async with running(tmp_path, *files) as (process, facts):
        with pytest.raises(trio.BrokenResourceError):  # it is for another name
            await page(facts["url"], "/healthz", client_context())
        renewed = pair_in(tmp_path)
        renewed.key.replace(pair.key)
        renewed.certificate.replace(pair.certificate)
        with trio.fail_after(START_LIMIT_S + LOOK_EVERY_S):
            await written(tmp_path / "err.txt", "a renewed certificate is in use")
        status = await page(facts["url"], "/healthz", client_context())
        assert json.loads(status.partition("\r\n\r\n")[2])["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        assert await code_of(process) == 0
