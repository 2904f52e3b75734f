"""A real browser without a window: Chromium, driven over the pipes of its DevTools protocol, under Trio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from trio_voice.errors import RemoteProtocolError

COMMAND_LIMIT_S = 30.0
END_LIMIT_S = 5.0
LOOK_EVERY_S = 0.05


def find_chromium() -> str | None:
    """Where the browser is, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class PageError(RemoteProtocolError):
    """A script in the page failed, or what was waited for did not come."""


@define(eq=False)
class Browser:
    """The process. Commands go out by number; answers wake who asked; events go to their page."""

    _commands: trio.abc.SendStream
    _answers: trio.abc.ReceiveStream
    _number: int = field(default=0, init=False)
    _asked: dict[int, trio.MemorySendChannel[dict[str, Any]]] = field(factory=dict, init=False)
    _pages: dict[str, Page] = field(factory=dict, init=False)

    async def read(self) -> None:
        """Hand out what the browser says, until it ends."""
        waiting = b""
        async for piece in self._answers:
            *messages, waiting = (waiting + piece).split(b"\0")
            for text in messages:
                message = json.loads(text)
                if "id" in message:
                    self._asked.pop(message["id"]).send_nowait(message)
                elif message.get("sessionId") in self._pages:
                    self._pages[message["sessionId"]].hear(message["method"], message["params"])

    async def command(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._number += 1
        number = self._number
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._asked[number] = send
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        with trio.fail_after(COMMAND_LIMIT_S):
            await self._commands.send_all(json.dumps(message).encode() + b"\0")
            answer = await receive.receive()
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    @asynccontextmanager
    async def page(self, url: str, *, width: int = 1200, height: int = 850, dark: bool = False) -> AsyncIterator[Page]:
        """Open a page in a profile of its own (cookies too); it is closed with the block."""
        context = (await self.command("Target.createBrowserContext"))["browserContextId"]
        target = (await self.command("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.command("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self, session)
        self._pages[session] = page
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.command(f"{domain}.enable")
            await page.resize(width, height)
            await page.command(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            )
            await page.open(url)
            yield page
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(END_LIMIT_S), suppress(trio.BrokenResourceError):
                await self.command("Target.disposeBrowserContext", browserContextId=context)
            del self._pages[session]


@define(eq=False)
class Page:
    """One tab. `complaints`: what its console reported as errors or warnings, what failed to load, what the policy refused."""

    _browser: Browser
    _session: str
    complaints: list[str] = field(factory=list, init=False)
    _loaded: trio.Event = field(factory=trio.Event, init=False)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.command(method, self._session, **parameters)

    def hear(self, method: str, facts: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Runtime.exceptionThrown":
                details = facts["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if facts["type"] in {"error", "warning", "assert"}:
                self.complaints.append(" ".join(str(each.get("value", each.get("description"))) for each in facts["args"]))
            case "Log.entryAdded" if facts["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")

    async def resize(self, width: int, height: int) -> None:
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self._loaded = trio.Event()
        await self.command("Page.navigate", url=url)
        with trio.fail_after(COMMAND_LIMIT_S):
            await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:
        """Evaluate an expression, also one that is a promise, and return its value."""
        answer = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    async def wait_for(self, script: str, limit_s: float = 10.0) -> Any:
        """Wait until an expression is true, and return its value."""
        with trio.move_on_after(limit_s):
            while not (value := await self.evaluate(script)):  # noqa: ASYNC110 - what is waited for is in another process
                await trio.sleep(LOOK_EVERY_S)
            return value
        raise PageError(f"this did not become true within {limit_s:g} s: {script}\n{await self.text()}")

    async def text(self) -> str:
        return str(await self.evaluate("document.body.innerText"))

    async def click(self, selector: str) -> None:
        await self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def press(self, key: str) -> None:
        """Press a key of the keyboard."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            await self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9}.get(key, 0), **text
            )

    async def screenshot(self, path: Path, *, whole: bool = False) -> None:
        picture = await self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await trio.Path(path).write_bytes(b64decode(picture["data"]))


@asynccontextmanager
async def chromium(profile: Path, *, microphone: Path | None = None) -> AsyncIterator[Browser]:
    """Run the browser for the time of the block. `microphone`: a WAV file that it hears, over and over again."""
    program = find_chromium()
    assert program is not None
    arguments = [
        "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run", "--disable-gpu",
        "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-US", "--autoplay-policy=no-user-gesture-required",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *(["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]),
        *([f"--use-file-for-fake-audio-capture={microphone}"] if microphone is not None else []),
    ]  # fmt: skip
    read_by_browser, written_by_us = os.pipe()
    read_by_us, written_by_browser = os.pipe()
    script = f'exec "$@" 3<&{read_by_browser} 4>&{written_by_browser}'  # the protocol's pipes are numbers 3 and 4
    process = await trio.lowlevel.open_process(
        ["/bin/bash", "-c", script, "chromium", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(read_by_browser, written_by_browser),
        start_new_session=True,
    )
    os.close(read_by_browser)
    os.close(written_by_browser)
    async with (
        trio.lowlevel.FdStream(written_by_us) as to,
        trio.lowlevel.FdStream(read_by_us) as from_browser,
        trio.open_nursery() as nursery,
    ):
        browser = Browser(to, from_browser)
        nursery.start_soon(browser.read)
        try:
            yield browser
        finally:
            with trio.CancelScope(shield=True):
                with trio.move_on_after(END_LIMIT_S), suppress(trio.BrokenResourceError, PageError, trio.TooSlowError):
                    await browser.command("Browser.close")
                with trio.move_on_after(END_LIMIT_S) as scope:
                    await process.wait()
                if scope.cancelled_caught:
                    process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()
