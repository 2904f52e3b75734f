"""The start page: it tells what runs, in HTML that cannot be broken by a name, and needs nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from attrs import evolve

from tests.web.asgi_client import get
from tests.web.test_app import ABOUT, app_with
from trio_voice.web.start_page import asset, start_page

ELSEWHERE = 'make call ARGS="--calls-folder /srv/calls"'


class Tags(HTMLParser):
    """Checks that every element is closed in order, and collects what the page loads."""

    void = frozenset({"meta", "link", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded.extend(value or "" for name, value in attrs if name in ("src", "href"))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(agent: str = "receptionist", *, calls: int = 0, why_not: str | None = None) -> str:
    return bytes(start_page(evolve(ABOUT, agent=agent), calls=calls, why_not=why_not).body).decode()


async def test_the_page_tells_what_runs_here() -> None:
    answer = await get(app_with(), "/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    for said in ("1.2.3", "receptionist", "the embedded model", "ws://127.0.0.1:8080/media/twilio", "make call"):
        assert said in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("command", "client", "says"),
    [
        ("make call", "192.0.2.7", "make call"),
        (ELSEWHERE, "127.0.0.1", "make call ARGS=&quot;--calls-folder /srv/calls&quot;"),
        (ELSEWHERE, "192.0.2.7", "make call ARGS=&quot;--calls-folder FOLDER&quot;"),
    ],
)
async def test_the_test_call_is_the_banners_and_the_world_is_not_told_of_folders(command: str, client: str, says: str) -> None:
    app = app_with(about=evolve(ABOUT, call_command=command))
    text = (await get(app, "/", {"host": "127.0.0.1:8080"}, client=client)).body.decode()
    assert f"<code>{says}</code>" in text


@pytest.mark.parametrize(
    ("calls", "why_not", "says"),
    [
        (0, None, '>0</strong> <span id="calls-word">calls in progress<'),
        (1, None, '>1</strong> <span id="calls-word">call in progress<'),
        (2, None, 'class="state ready">ready for calls<'),
        (2, "a < b", 'class="state waiting">takes no new calls (a &lt; b)<'),
    ],
)
def test_the_page_tells_how_things_stand(calls: int, why_not: str | None, says: str) -> None:
    assert says in page(calls=calls, why_not=why_not)


def test_a_name_cannot_break_the_page() -> None:
    text = page('<script>alert("1")</script>')
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in text
    assert text.count("<script") == 1


def test_everything_the_page_loads_is_served_here() -> None:
    tags = Tags()
    tags.feed(page())
    assert tags.open == []
    names = [loaded.removeprefix("/assets/") for loaded in tags.loaded if loaded.startswith("/assets/")]
    assert sorted(set(names)) == ["icon.svg", "start.css", "start.js"]
    assert set(tags.loaded) - {f"/assets/{name}" for name in names} == {"/healthz", "/readyz"}
    for name in names:
        found = asset(name)
        assert found is not None
        assert not re.search(rb"(https?:)?//(?!www\.w3\.org/2000/svg)\w", bytes(found.body))


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "start.html"])
async def test_other_files_are_not_served(name: str) -> None:
    assert (await get(app_with(), f"/assets/{name}")).status == 404


def test_the_page_has_a_dark_mode_and_fits_a_telephone() -> None:
    style = asset("start.css")
    assert style is not None
    assert b"prefers-color-scheme: dark" in bytes(style.body)
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in page()
