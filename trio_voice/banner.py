"""What the server says when it begins to answer calls: where everything is."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from trio_voice.config import Settings
from trio_voice.dialects.registry import DIALECTS, MEDIA_PATH
from trio_voice.entrance import server_certificate, warnings
from trio_voice.keeping import recordings_in_words, records_in_words
from trio_voice.sections import ConsoleAccess, ServerSettings
from trio_voice.web.start_page import About

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound


def addresses(server: ServerSettings, port: int) -> tuple[str, tuple[str, ...]]:
    """Work out our own URL, as seen from this machine, and those of the media streams, as seen by carriers."""
    host = LOOPBACK.get(server.host, server.host)
    scheme = "http" if server.tls_certificate_file is None else "https"
    own_url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    public = (server.public_url or own_url).rstrip("/")
    return own_url, tuple(f"ws{public.removeprefix('http')}{MEDIA_PATH}{name}" for name in DIALECTS)


def call_command(calls_folder: Path) -> str:
    """What places a call here: it finds the server, and the token, by the calls folder."""
    if calls_folder == Path.cwd() / ServerSettings().calls_folder:
        return "make call"
    return f'make call ARGS="--calls-folder {shlex.quote(str(calls_folder))}"'


def banner(settings: Settings, about: About, own_url: str, token: str, voice: Sequence[str], *, workers: int = 1) -> str:
    """Everything that a person needs to know of a server that has just begun to answer calls."""
    lines = [
        _console_in_words(settings, own_url, token),
        ("health", f"{own_url}/healthz"),
        *(("carrier", url) for url in about.media_urls),
        ("model", about.model),
        *(("voice", sentence) for sentence in voice),
        *([] if settings.agent_file is None else [("agent", _agent_in_words(settings, settings.agent_file))]),
        ("calls", str(settings.server.calls_folder)),
        ("records", records_in_words(settings)),
        *([("recorded", recordings_in_words(settings))] if settings.recording.enabled else []),
        *([] if workers == 1 else [("workers", f"{workers} processes, which show and serve each other's calls")]),
        (
            "settings",
            str(settings.file) if settings.file else "the defaults (trio-voice.toml, TRIO_VOICE_... or flags change them)",
        ),
    ]
    return "\n".join(
        [
            f"trio-voice {about.version}: {about.agent} is ready for calls.",
            *(f"  {name:<9} {text}" for name, text in lines),
            *(f"  WARNING   {sentence}." for sentence in (*warnings(settings), *_about_the_certificate(settings))),
            f"Place a test call from another terminal: {about.call_command}. Ctrl-C ends the server.",
        ]
    )


def _about_the_certificate(settings: Settings) -> Iterator[str]:
    certificate = server_certificate(settings)
    if certificate is not None and certificate.problem is not None:
        yield certificate.problem


def _agent_in_words(settings: Settings, file: Path) -> str:
    tools = ", ".join(tool.name for tool in settings.agent.tools)
    if tools and settings.access.base_url is None and settings.model.script is None:
        tools += " (the embedded model understands no words: it calls them only where a script says so, --script)"
    return f"{file}, with {f'the tools {tools}' if tools else 'no tools'}"


def _console_in_words(settings: Settings, own_url: str, token: str) -> tuple[str, str]:
    """Where the console is. A token that somebody configured is a secret of theirs, and is not printed."""
    if settings.server.console is ConsoleAccess.OFF:
        return "page", f"{own_url}/"
    if settings.server.console is ConsoleAccess.LOCAL:
        return "console", f"{own_url}/ (open to everybody on this machine)"
    if settings.credentials.api_token is not None:
        return "console", f"{own_url}/ (with the API token that is configured)"
    return "console", f"{own_url}/?token={token}"
