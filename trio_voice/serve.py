"""`python -m trio_voice serve`: puts the parts together, says where they are, and ends them in order."""

from __future__ import annotations

import gc
import os
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click
import structlog
import trio
from attrs import define

from trio_voice.agent_file import load_agent
from trio_voice.assembly import Ground, assemble
from trio_voice.banner import addresses, banner, call_command
from trio_voice.config import EMBEDDED, Settings, load_settings
from trio_voice.dialects.registry import MEDIA_PATH
from trio_voice.entrance import log_redaction, server_certificate
from trio_voice.keeping import Keeping, keeping
from trio_voice.logs import set_up_logging
from trio_voice.plan import model_in_words
from trio_voice.run_file import make_calls_folder, run_file
from trio_voice.sections import LogFormat, LogLevel, ServerSettings, VoiceEngine
from trio_voice.server.directory import CallDirectory
from trio_voice.server.front_door import MediaHandler, open_listeners, serve_pages
from trio_voice.server.front_door import serve as serve_connections
from trio_voice.server.poller import polling
from trio_voice.server.shared_port import shared_listener, shared_port
from trio_voice.server.siblings import Siblings, private_listener, sockets_folder
from trio_voice.server.waiting_room import waiting_room
from trio_voice.service import ServiceManager
from trio_voice.settings_sources import Given
from trio_voice.web.start_page import About
from trio_voice.workers import Order, Wanted, Workers

log = structlog.get_logger(__name__)

OPEN_FILES = 65536
LAST_ANSWERS_LIMIT_S = 1.0
"""How long the pages may take to their end once the last call is over: those who follow a call get its last line, and the end."""
ENDING = "the server is ending"
FLAGS = {
    "host": "server.host",
    "port": "server.port",
    "public_url": "server.public_url",
    "calls": "server.calls_folder",
    "log_format": "server.log_format",
    "log_level": "server.log_level",
    "model": "model.url",
    "model_name": "model.name",
    "workers": "server.workers",
    "script": "model.script",
    "voice": "model.voice",
}
"""The settings that have a flag of their own, by the flag's parameter."""

Say = Callable[[str], None]


@click.command("serve")
@click.argument("agent", required=False, metavar="[AGENT.py[:NAME]]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings (TOML). Default: trio-voice.toml, if there.")
@click.option("--host", help="Address to listen on; 0.0.0.0: all of this machine's.")
@click.option("--port", help="Port for web pages and media streams; 0: any free one.")
@click.option("--public-url", help="How the world reaches this server, for instance https://voice.example.com.")
@click.option("--calls-folder", "--calls", "calls", help="Folder in which each call gets one of its own.")
@click.option("--model", help=f"Base URL of a Realtime server, or {EMBEDDED!r}.")
@click.option("--model-name", help="The model's name.")
@click.option("--script", help="What the embedded model says (TOML).")
@click.option("--voice", type=click.Choice([each.value for each in VoiceEngine]), help="What speaks for the embedded model.")
@click.option("--workers", help="Processes that share the port, each with its own calls; a good number: the machine's cores.")
@click.option("--log-format", type=click.Choice([each.value for each in LogFormat]), help="How log lines look.")
@click.option("--log-level", type=click.Choice([each.value for each in LogLevel]), help="From which importance on to log.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting, e.g. call.watchdog_s=2.")
def serve(agent: str | None, file: Path | None, assignments: tuple[str, ...], **flags: str | None) -> None:
    """Answer telephone calls, with the agent in AGENT.py, or with the one of the settings' section [agent].

    Settings come from a file, from variables named TRIO_VOICE_<SECTION>_<KEY>, and from flags; the last of these wins.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    wanted = Wanted(agent=agent, file=None if file is None else str(file), assignments=list(assignments), flags=given)
    settings = the_settings(wanted)
    set_up_logging(settings.server.log_format, settings.server.log_level, redact=log_redaction(settings))
    raise_file_limit()
    run = partial(run_server, settings) if settings.server.workers == 1 else partial(run_workers, settings, wanted)
    try:
        trio.run(partial(run, say=click.echo, settled=leave_alone_what_is_there))
    except* KeyboardInterrupt:  # it came before the server took over the signals
        pass
    click.echo("Stopped.")


def the_settings(wanted: Wanted) -> Settings:
    """Read the settings that the command's parameters name. Raises UserError."""
    flags = {FLAGS[name]: Given(value, f"--{name.replace('_', '-')}", is_text=True) for name, value in wanted.flags.items()}
    loaded = None if wanted.agent is None else load_agent(wanted.agent)
    file = None if wanted.file is None else Path(wanted.file)
    return load_settings(file=file, environ=os.environ, assignments=wanted.assignments, flags=flags, loaded=loaded)


def raise_file_limit() -> None:
    """Open as many files as this process may, within reason: a call holds two to four, and the usual limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a second, lower limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def leave_alone_what_is_there() -> None:
    """Have the garbage collector pass over all that was imported and made for the start.

    A whole collection with 200 calls took 86 ms, in which nobody was heard. Before, it takes 30 ms and finds next to nothing.
    """
    gc.collect(1)
    gc.freeze()


async def run_server(
    settings: Settings,
    *,
    say: Say,
    media: MediaHandler | None = None,
    signals: AsyncIterator[int] | None = None,
    order: Order | None = None,
    settled: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM, and end in order: no new calls, a goodbye in each call, the pages, the model.

    `media` answers carriers instead of calls with a model; `signals` stands for the process's signals; `order` makes it one of
    several workers; `settled` is called when all is in its place, before the first connection is taken. Raises UserError.
    """
    if signals is None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await run_server(settings, say=say, media=media, signals=signals, order=order, settled=settled)
        return
    calls_folder, certificate = settings.server.calls_folder, server_certificate(settings)
    make_calls_folder(calls_folder)
    directory, draining, voice = CallDirectory(), trio.Event(), list[str]()
    async with (
        _listening(settings.server, order) as listeners,
        keeping(settings) as kept,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        manager = ServiceManager() if order is not None else ServiceManager.found(os.environ)  # a worker's parent tells
        nursery.start_soon(manager.keep_alive)
        elsewhere = settings.access.base_url or (order.model_url if order is not None else None)
        base_url = elsewhere or await _embedded_model(nursery, settings, voice)
        own_url, media_urls = addresses(settings.server, listeners[0].socket.getsockname()[1])
        ground = _ground(settings, order, base_url, media_urls, kept)
        about, token = ground.about, ground.token
        stack.enter_context(polling(nursery, gathered_s=settings.server.gather_ms / 1000))
        stack.enter_context(waiting_room(nursery))
        server = await assemble(ground, directory, draining, nursery, stack)
        if certificate is not None:
            nursery.start_soon(certificate.watch)
        if order is not None:
            private = stack.enter_context(private_listener(Path(order.sockets), order.number))
            nursery.start_soon(serve_pages, private, server.own_app)
        settled()
        door = partial(serve_connections, listeners, media=media or server.answering, app=server.app, draining=draining)
        async with _open(partial(door, certificate=certificate)):
            hints: list[str] = []
            found = partial(run_file, url=own_url, token=token, tell=hints.append, call_command=about.call_command)
            with nullcontext() if order is not None else found(calls_folder):
                say("\n".join([banner(settings, about, own_url, token, voice), *hints]))
                manager.ready(f"answers calls on {own_url}")
                await until_told(signals, directory, draining, settings.server.drain_limit_s, say, manager.ending)
        nursery.cancel_scope.cancel()


def _ground(settings: Settings, order: Order | None, base_url: str, media_urls: tuple[str, ...], kept: Keeping) -> Ground:
    token = order.token if order is not None else the_token(settings)
    return Ground(
        settings=settings,
        about=_about(settings, media_urls),
        base_url=base_url,
        token=token,
        media_base=media_urls[0].partition(MEDIA_PATH)[0],
        siblings=None if order is None else Siblings(Path(order.sockets), order.number, token),
        witnesses=kept.witnesses,
        backlogs=kept.backlogs,
    )


@asynccontextmanager
async def _open(door: Callable[..., Awaitable[None]]) -> AsyncIterator[None]:
    """Take connections for the time of the block; those that are there at its end get a moment for their last answers."""
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as doors:
            await doors.start(partial(door, connections=connections))
            yield
            doors.cancel_scope.cancel()
        connections.cancel_scope.deadline = trio.current_time() + LAST_ANSWERS_LIMIT_S


async def run_workers(settings: Settings, wanted: Wanted, *, say: Say, settled: Callable[[], None] = lambda: None) -> None:
    """Have several workers serve until SIGINT or SIGTERM, with one embedded model between them. Raises UserError.

    `settled` is called when that model is in its place, before the first worker is started.
    """
    server, token, hints, voice = settings.server, the_token(settings), list[str](), list[str]()
    server_certificate(settings)  # said once, and not by each worker
    make_calls_folder(server.calls_folder)
    with (
        sockets_folder() as sockets,
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        shared_port(server.host, server.port) as port,
        ExitStack() as stack,
    ):
        own_url, media_urls = addresses(server, port)
        async with trio.open_nursery() as nursery:
            own_model = None if settings.access.base_url else await _embedded_model(nursery, settings, voice)
            settled()

            def order(number: int, ready: int) -> Order:
                return Order(
                    number=number, wanted=wanted, port=port, token=token, model_url=own_model, sockets=str(sockets), ready=ready
                )

            workers, manager = Workers(server.workers, order, server.drain_limit_s), ServiceManager.found(os.environ)
            nursery.start_soon(manager.keep_alive)
            async with trio.open_nursery() as running:
                await running.start(workers.run, _Telling(signals, manager))
                about = _about(settings, media_urls)
                found = partial(run_file, url=own_url, token=token, tell=hints.append, call_command=about.call_command)
                stack.enter_context(found(server.calls_folder))
                if not workers.told_to_end:
                    say("\n".join([banner(settings, about, own_url, token, voice, workers=server.workers), *hints]))
                    manager.ready(f"answers calls on {own_url} with {server.workers} workers")
            nursery.cancel_scope.cancel()


@define
class _Telling:
    """Signals, of which the service manager is told: they begin the end."""

    _signals: AsyncIterator[int]
    _manager: ServiceManager

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        number = await anext(self._signals)
        self._manager.ending()
        return number


async def _embedded_model(nursery: trio.Nursery, settings: Settings, voice: list[str]) -> str:
    from trio_voice.embedded_model import start_embedded_model  # noqa: PLC0415 - 4 MB, for nothing where another model is used

    return await start_embedded_model(nursery, settings.model, voice.append)


def the_token(settings: Settings) -> str:
    """The token of the HTTP interface: the configured one, or one for this run."""
    return settings.credentials.api_token or secrets.token_urlsafe(32)


def _about(settings: Settings, media_urls: tuple[str, ...]) -> About:
    return About(
        version=version("trio-voice"),
        agent=settings.agent.name,
        model=model_in_words(settings),
        media_urls=media_urls,
        call_command=call_command(settings.server.calls_folder),
    )


async def until_told(
    signals: AsyncIterator[int],
    directory: CallDirectory,
    draining: trio.Event,
    drain_limit_s: float,
    say: Say,
    on_signal: Callable[[], None] = lambda: None,
) -> None:
    """Wait until a signal says that the server shall end now.

    At the first one no new calls are taken, and in those in progress the agent says goodbye; then it is the last call's end, at
    most `drain_limit_s` later, or a second signal.
    """
    number = await anext(signals)
    draining.set()
    on_signal()
    log.info("ending", signal=signal.Signals(number).name, calls=len(directory))
    if not len(directory):
        return
    calls = "the call" if len(directory) == 1 else f"the {len(directory)} calls"
    say(f"No new calls. Saying goodbye in {calls} in progress, for up to {drain_limit_s:g} s; Ctrl-C again ends at once.")
    for call in directory:
        call.part(ENDING)

    async def be_told_again() -> None:
        await anext(signals)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_told_again)
        await directory.wait_empty(drain_limit_s)
        nursery.cancel_scope.cancel()
    for call in directory:
        call.scope.cancel()


@asynccontextmanager
async def _listening(server: ServerSettings, order: Order | None) -> AsyncIterator[list[trio.SocketListener]]:
    """Take the port before anything else is started; whoever connects meanwhile waits. A worker shares it."""
    listeners = await open_listeners(server.host, server.port) if order is None else [shared_listener(server.host, order.port)]
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.socket.close()
