"""The console in a real browser: every page without a complaint, on a desk and on a telephone, for eyes, keys and readers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import frozen

from tests.end_to_end.chromium import Page, chromium, find_chromium
from tests.web.test_console_past import lines_of_a_call, write_journal
from trio_voice.audio.wav import write_wav_8khz
from trio_voice.core.events import CallerAudio, Event, HangUpAsked, ModelTranscript, TextInjected
from trio_voice.core.states import CallState, ResponseState
from trio_voice.server.directory import CallDirectory, Handle, LiveCall, Standing
from trio_voice.server.front_door import MediaRequest, open_listeners, serve
from trio_voice.storage.journal import JournalWriter
from trio_voice.web.app import Dependencies, create_app
from trio_voice.web.console import ConsolePlan
from trio_voice.web.start_page import About

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here: apt-get install chromium")

HOSTILE = '<img src=x onerror="document.title=`broken`"> & "quoted"'
PAGES = {
    "": "Calls",
    "past": "Past calls",
    "phone": "Softphone",
    "server": "Server",
    "call/c1": "Call c1",
    "call/live1": "Call from",
}
DESK, TELEPHONE = (1200, 850), (375, 700)

CHECKS = (Path(__file__).parent / "page_checks.js").read_text("utf-8")
"""Functions for the page: unreadable(), unnamed(), smallTargets(), each returns what is wrong."""


@frozen
class Desk:
    """The server of the pages, its only call, and what was asked of that one."""

    url: str
    call: LiveCall
    asked: trio.MemoryReceiveChannel[Event]
    draining: trio.Event


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    """A server with a past call and one in progress; what strangers say in both is hostile."""
    write_journal(folder, "c1", lines_of_a_call("c1", HOSTILE))
    write_wav_8khz(folder / "c1" / "call.wav", bytes(2 * 2 * 8000 * 2), channels=2)
    directory, (ask, asked) = CallDirectory(), trio.open_memory_channel[Event](9)
    call = LiveCall(
        "live1", "CAlive", datetime.now(UTC), folder / "live1", dialect="twilio", caller=f"{HOSTILE}0", called="…0199"
    )
    call.handle = Handle(ask.send_nowait, lambda: Standing(CallState.CONVERSING, ResponseState.ACTIVE))
    so_far = lines_of_a_call("live1", HOSTILE)[:-1]
    write_journal(folder, "live1", so_far)
    for line in so_far:
        call.publish(line)
    call.publish(JournalWriter().event(2.3, ModelTranscript(1, "r9", "i9", HOSTILE, final=True)))
    about = About(version="1.2.3", agent=HOSTILE, model="the embedded model", media_urls=("ws://127.0.0.1:1/media/twilio",))
    settings = {"server": {"host": {"value": HOSTILE, "is_default": False, "is_hidden": False}}}
    plan = ConsolePlan(calls_folder=folder, settings=settings)
    draining = trio.Event()
    app = create_app(
        Dependencies(about=about, directory=directory, token="t0ken", draining=draining, console=plan, show_numbers=True)
    )

    async def refuse(request: MediaRequest) -> None:
        await request.reject(503, "no calls here")

    async with trio.open_nursery() as nursery:
        listeners = await open_listeners("127.0.0.1", 0)
        await nursery.start(partial(serve, listeners, media=refuse, app=app, draining=draining))
        with directory.registered(call):
            yield Desk(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", call, asked, draining)
        nursery.cancel_scope.cancel()


async def go(page: Page, name: str) -> None:
    """Go to a page of the console, and wait until it is there."""
    await page.evaluate(f"location.hash = '#/{name}'")
    await page.wait_for(f"document.querySelector('h1')?.textContent.startsWith({json.dumps(PAGES[name])})")
    await page.wait_for("!document.body.innerText.includes('connecting')")


async def test_every_page_has_no_complaint_fits_a_telephone_and_is_readable(tmp_path: Path) -> None:
    async with desk(tmp_path) as server, chromium(tmp_path / "profile") as browser:
        for dark in (False, True):
            async with browser.page(f"{server.url}/?token=t0ken", width=TELEPHONE[0], height=TELEPHONE[1], dark=dark) as page:
                await page.wait_for("document.getElementById('state').textContent === 'ready for calls'")
                assert await page.evaluate("location.href") == f"{server.url}/", "the token is not left in the address"
                for name in PAGES:
                    await go(page, name)
                    await page.wait_for("document.querySelectorAll('main .quiet, main dl > *').length")
                    assert await page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE[0], name
                    assert await page.evaluate(f"{CHECKS}; unreadable()") == [], name
                    assert await page.evaluate(f"{CHECKS}; unnamed()") == [], name
                    assert await page.evaluate(f"{CHECKS}; unreachable()") == [], name
                    assert await page.evaluate(f"{CHECKS}; smallTargets()") == [], name
                assert page.complaints == []
                assert await page.evaluate("document.title") != "broken", "what a stranger said became part of the page"


async def test_the_start_page_lets_in_who_has_the_token(tmp_path: Path) -> None:
    of_before = "/?token=of-an-earlier-start"
    async with (
        desk(tmp_path) as server,
        chromium(tmp_path / "profile") as browser,
        browser.page(f"{server.url}{of_before}") as page,
    ):
        told = "document.getElementById('sign-in-problem').textContent.startsWith('What the address has is not this server')"
        await page.wait_for(f"{told} && location.search === ''")
        await page.evaluate("document.getElementById('token').value = 'wrong'")
        await page.click("#sign-in button")
        await page.wait_for("document.getElementById('sign-in-problem').textContent.startsWith('This is not this server')")
        assert all("401" in complaint for complaint in page.complaints)
        await page.evaluate("document.getElementById('token').value = 't0ken'")
        await page.click("#sign-in button")
        await page.wait_for("document.querySelector('nav a[aria-current]')?.textContent === 'Calls'")
        assert await page.evaluate("document.cookie") == "", "no script can read the cookie"
        await go(page, "server")
        await page.evaluate("[...document.querySelectorAll('button')].find((each) => each.textContent === 'Sign out').click()")
        await page.wait_for("document.getElementById('sign-in') !== null")


async def speak(call: LiveCall) -> None:
    """The caller speaks, frame by frame."""
    journal = JournalWriter()
    while True:
        call.measure(journal.event(call.duration_s, CallerAudio(bytes(160), -33.0)))
        await trio.sleep(0.02)


async def test_a_call_is_watched_and_hung_up_and_a_past_one_found_played_and_replayed(tmp_path: Path) -> None:
    async with (
        desk(tmp_path) as server,
        chromium(tmp_path / "profile") as browser,
        browser.page(f"{server.url}/?token=t0ken", width=DESK[0], height=DESK[1]) as page,
    ):
        await page.wait_for("document.querySelector('.call-card') !== null")
        meters = "[...document.querySelectorAll('main .meter')].map((each) => each.getAttribute('aria-valuetext')).join()"
        async with trio.open_nursery() as caller:
            caller.start_soon(speak, server.call)
            await page.wait_for(f"{meters} === '-33 dBFS,silent'")
            caller.cancel_scope.cancel()
        await page.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the page"

        await go(page, "call/live1")
        await page.wait_for("document.querySelectorAll('.transcript li').length === 4")
        said = await page.evaluate(
            "[...document.querySelectorAll('.transcript li > p:nth-child(2)')].map((each) => each.textContent)"
        )
        assert said == [HOSTILE, "Of course.", "speaking …", HOSTILE]
        decisions = await page.evaluate("document.querySelector('[aria-label=Decisions]').innerText")
        assert "no barge-in" in decisions
        assert "the greeting is not to be interrupted" in decisions
        assert "barge-in: the agent falls silent" in decisions
        await page.evaluate(
            "[...document.querySelectorAll('main button')].find((each) => each.textContent === 'Hang up').click()"
        )
        with trio.fail_after(5):
            assert await server.asked.receive() == HangUpAsked("hung up in the console")
            await page.evaluate("document.getElementById('say').value = 'One moment, please.'")
            await page.click(".say button")
            assert await server.asked.receive() == TextInjected("One moment, please.")

        await go(page, "past")
        rows = "[...document.querySelectorAll('tbody tr')].map((each) => each.innerText.replace(/\\s+/g, ' '))"
        in_progress, past = await page.wait_for(f"{rows}.length === 2 && {rows}")
        assert "in progress" in in_progress
        assert HOSTILE in past
        assert "recorded" in past
        await page.evaluate("document.getElementById('search').value = 'nowhere'")
        await page.evaluate("document.getElementById('search').dispatchEvent(new Event('input'))")
        await page.wait_for(
            "document.querySelector('main [role=status]').textContent === 'No call that is kept matches “nowhere”.'"
        )

        await go(page, "call/c1")
        await page.wait_for("document.querySelector('audio').readyState > 0 && document.querySelector('svg.timeline') !== null")
        assert await page.evaluate("document.querySelector('audio').duration") == 2
        await page.evaluate("document.querySelector('audio').currentTime = 1")
        await page.wait_for("/translate\\([1-9]/.test(document.querySelector('.play-head').getAttribute('transform'))")
        await page.evaluate("[...document.querySelectorAll('main button')].find((each) => each.textContent === 'Replay').click()")
        await page.wait_for("document.querySelector('.verdict')?.textContent === 'Different'")
        assert "then" in await page.evaluate("document.querySelector('.verdict').parentElement.textContent")
        assert page.complaints == []


async def test_a_call_that_cannot_be_says_why(tmp_path: Path) -> None:
    async with (
        desk(tmp_path) as server,
        chromium(tmp_path / "profile") as browser,
        browser.page(f"{server.url}/?token=t0ken", width=TELEPHONE[0], height=TELEPHONE[1]) as page,
    ):
        status = "document.querySelector('.phone-status').textContent"
        await go(page, "phone")
        await page.evaluate("document.querySelector('button.primary').focus()")
        await page.click("button.primary")
        await page.wait_for(f"{status} === 'the server did not take the call'")
        assert await page.evaluate("document.activeElement.textContent") == "Call", "the keyboard is where it was"
        assert await page.evaluate("document.querySelector('button.primary').checkVisibility()"), "one may try again"
        refusal = (
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'))"
        )
        await page.evaluate(f"{refusal}, true")
        await page.click("button.primary")
        await page.wait_for(f"{status}.startsWith('the browser does not give the microphone')")
        await page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
        await page.click("button.primary")
        await page.wait_for(f"{status}.includes('only to pages from https')")
        server.draining.set()
        await page.wait_for("document.getElementById('state').textContent === 'takes no new calls (draining)'")
