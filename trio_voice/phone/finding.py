"""Which server to call: the one that runs on this machine, found by its run file, or one that is started for this call alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import trio
from attrs import evolve, field, frozen

from trio_voice.errors import UserError
from trio_voice.phone.feed import UnreachableError, get, post

MEDIA_PATH = "/media/twilio"
RUN_FILE = "server.json"
LOG_FILE = "server.log"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
_LOOK_EVERY_S = 0.1
_OK = 200
_CREATED = 201
_THIS_MACHINE = ("localhost", "::1", "0.0.0.0")  # noqa: S104 - compared with, not bound


@frozen
class Server:
    """A server to call. `token` (for a call's live events) and `calls_folder` (where its journals are) only if it runs here."""

    media_url: str
    url: str
    token: str | None = field(default=None, repr=False)
    calls_folder: Path | None = None
    pid: int | None = None

    @property
    def gives_tokens(self) -> bool:
        """Whether a call may ask for a call token first. A media URL with more in its path than the dialect is taken as typed."""
        return self.token is not None and urlsplit(self.media_url).path.rstrip("/") == MEDIA_PATH


async def find_server(calls_folder: Path) -> Server | None:
    """Find the server that runs on this machine with this calls folder; None: none does."""
    server = read_run_file(calls_folder)
    return server if server is not None and await is_well(server) else None


async def server_at(url: str, calls_folder: Path) -> Server:
    """Return the server at a URL that somebody typed: a media URL, or that of its start page.

    If it is the one that runs here, its token and folder come with it. Raises UserError for what is no URL.
    """
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        address = f"{host}:{parts.port}" if parts.port else f"{host}"
    except ValueError as error:
        raise UserError(f"--url {url}: not a URL ({error})") from None
    if parts.scheme not in {"ws", "wss", "http", "https"} or not parts.hostname:
        raise UserError(f"--url {url}: not a media URL; give one like ws://127.0.0.1:8080{MEDIA_PATH}")
    tls = parts.scheme in {"wss", "https"}
    is_page = parts.scheme in {"http", "https"} and parts.path in {"", "/"}
    path = MEDIA_PATH if is_page else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    server = Server(f"ws{'s' if tls else ''}://{parts.netloc}{path}", f"http{'s' if tls else ''}://{address}")
    running = await find_server(calls_folder)
    if running is not None and _place(running.url) == _place(server.url):
        return evolve(running, media_url=server.media_url)
    return server


def _place(url: str) -> tuple[str, int]:
    """Host and port; this machine has one name here."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return "127.0.0.1" if host in _THIS_MACHINE else host, parts.port or (443 if parts.scheme == "https" else 80)


async def media_url_with_token(server: Server) -> str:
    """Ask the server, with its own token, for a call token; the media URL that it opens. Raises UserError.

    Asked before the stream is opened: a stream without its token would be refused by a guarded server, which warns of it.
    """
    try:
        answer = await post(server.url, "/api/v1/call-tokens", b"", {"Authorization": f"Bearer {server.token}"})
        if answer.status == _CREATED:
            parts = urlsplit(server.media_url)
            return parts._replace(path=str(json.loads(answer.body)["paths"]["twilio"]), query="").geturl()
        problem = answer.body.decode("utf-8", "replace").strip()[:200]
    except (UnreachableError, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    raise UserError(f"{server.url}: the server refused the call, and gave no call token: {problem}")


def read_run_file(calls_folder: Path) -> Server | None:
    """Read the run file of a server; None: there is none, or it is broken."""
    try:
        facts = json.loads((calls_folder / RUN_FILE).read_text("utf-8"))
        url, token, pid = str(facts["url"]), str(facts["token"]), int(facts["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    media_url = f"ws{url.removeprefix('http').rstrip('/')}{MEDIA_PATH}"
    return Server(media_url, url, token, calls_folder.resolve(), pid)


async def is_well(server: Server) -> bool:
    """Ask the server whether it is well."""
    try:
        return (await get(server.url, "/healthz")).status == _OK
    except UnreachableError:
        return False


@asynccontextmanager
async def started_server(calls_folder: Path, *arguments: str, limit_s: float = START_LIMIT_S) -> AsyncIterator[Server]:
    """Run `python -m trio_voice serve` on a free port for the time of the block, and end it as its user would (SIGTERM).

    What it prints goes to `server.log` in the calls folder. Raises UserError when it does not become ready.
    """
    log_path = calls_folder / LOG_FILE
    command = [sys.executable, "-m", "trio_voice", "serve", "--port", "0", "--calls", str(calls_folder), *arguments]
    with _opened(log_path) as log:
        process = await trio.lowlevel.open_process(  # its own session: a Ctrl-C on the terminal is for the caller alone
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield await _ready(process, calls_folder, log_path, limit_s)
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _ready(process: trio.Process, calls_folder: Path, log_path: Path, limit_s: float) -> Server:
    with trio.move_on_after(limit_s):
        while process.poll() is None:
            server = read_run_file(calls_folder)
            if server is not None and server.pid == process.pid and await is_well(server):
                return server
            await trio.sleep(_LOOK_EVERY_S)
        raise UserError(f"the server did not start: {_last_line(log_path) or f'exit code {process.returncode}'} (see {log_path})")
    raise UserError(f"the server was not ready within {limit_s:g} s (see {log_path})")


async def _end(process: trio.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            with trio.move_on_after(STOP_LIMIT_S):
                await process.wait()


def _opened(log_path: Path) -> BinaryIO:
    try:
        log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return log_path.open("wb")
    except OSError as error:
        raise UserError(f"{log_path} cannot be written ({error.strerror}); give another --calls-folder") from None


def _last_line(log_path: Path) -> str:
    lines = log_path.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
