"""The start page: what runs here, how to call it. Its files are in `static/` and come from this server alone."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from attrs import frozen
from starlette.responses import HTMLResponse, Response

PLAIN_CALL = "make call"
CALL_WITH_A_FOLDER = 'make call ARGS="--calls-folder FOLDER"'
"""What the page says to the world: where calls are kept is told to this machine alone."""
_ASSETS = {
    "start.css": "text/css",
    "start.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@frozen(kw_only=True)
class About:
    """What the start page tells."""

    version: str
    agent: str
    """The agent's name."""
    model: str
    """Which model answers, in a few words."""
    media_urls: tuple[str, ...]
    """Where carriers connect, one a dialect."""
    call_command: str = PLAIN_CALL
    """What places a test call."""


def start_page(about: About, *, calls: int, why_not: str | None, console: bool = False, is_near: bool = False) -> Response:
    """Render the page as it is now; its script keeps it true. `why_not`: the reason why no call can come, if there is one.

    `console`: there is one, and whoever has the token may go on to it. `is_near`: it is shown on this machine.
    """
    media = "".join(f"<li><code>{escape(url)}</code></li>" for url in about.media_urls)
    call_command = about.call_command if is_near or about.call_command == PLAIN_CALL else CALL_WITH_A_FOLDER
    page = _page().substitute(
        version=escape(about.version),
        agent=escape(about.agent),
        model=escape(about.model),
        media=media,
        call_command=escape(call_command),
        calls=calls,
        calls_word="call in progress" if calls == 1 else "calls in progress",
        state="ready for calls" if why_not is None else f"takes no new calls ({escape(why_not)})",
        state_class="ready" if why_not is None else "waiting",
        console_hidden="" if console else " hidden",
    )
    return HTMLResponse(page, headers={"Cache-Control": "no-store"})


def asset(name: str) -> Response | None:
    """Return a file of the page, if there is one of this name."""
    media_type = _ASSETS.get(name)
    if media_type is None:
        return None
    return Response(_file(name), media_type=media_type, headers={"Cache-Control": "max-age=300"})


@cache
def _file(name: str) -> bytes:
    return files("trio_voice.web").joinpath("static", name).read_bytes()


@cache
def _page() -> Template:
    return Template(_file("start.html").decode())
