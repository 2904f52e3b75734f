"""Takes the pictures of the console in docs/images: a real server, a real browser, a recorded voice at its microphone.

    .venv/bin/python -m tests.tools.console_pictures

Needs Chromium, and recorded speech (`make speech`). It takes a minute: the call is a real one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import trio

from tests.end_to_end.chromium import Browser, Page, chromium, find_chromium
from tests.end_to_end.test_program import running
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.wav import write_wav_8khz
from trio_voice.phone.speech import open_prompts, speech_folder

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SPOKEN = ((7.0, ("hello-world",)), (14.0, ("tt-weasels",)), (18.5, ("vm-goodbye",)), (27.0, ("tt-monkeysintro",)))
"""When the person at the microphone says what, in seconds since the call began."""
LOOP_S = 120
DESK, TELEPHONE = (1200, 860), (375, 760)


def write_microphone(path: Path) -> None:
    """Write the voice of the person who calls."""
    prompts = open_prompts(speech_folder())
    if prompts is None:
        sys.exit("no recorded speech here: make speech")
    line = np.zeros(LOOP_S * 8000, "<i2")
    for at_s, names in SPOKEN:
        pcm16 = np.frombuffer(ulaw_to_pcm16(prompts.say(*names).ulaw), "<i2")
        line[int(at_s * 8000) : int(at_s * 8000) + len(pcm16)] = pcm16
    write_wav_8khz(path, line.tobytes())


async def go(page: Page, where: str) -> None:
    """Go to a page of the console and give it time to draw."""
    await page.evaluate(f"location.hash = '#/{where}'")
    await trio.sleep(1.5)


async def take_pictures(browser: Browser, address: str) -> None:
    """Call, look at everything meanwhile, and afterwards."""
    async with browser.page(address, width=DESK[0], height=DESK[1]) as page:
        await go(page, "phone")
        await page.click("button.primary")
        await page.wait_for("document.querySelector('.phone-status').textContent === 'in a call'")
        await trio.sleep(20.0)
        await page.screenshot(IMAGES / "console-softphone.png")
        await go(page, "")
        await page.screenshot(IMAGES / "console-calls.png")
        call = await page.evaluate("document.querySelector('.call-card a').hash.slice(2)")
        await go(page, call)
        await trio.sleep(8.0)
        await page.screenshot(IMAGES / "console-live.png", whole=True)
        await page.click("#strip-hang-up")
        await trio.sleep(3.0)
        await page.evaluate(
            "[...document.querySelectorAll('main button')].find((each) => each.textContent === 'Replay')?.click()"
        )
        await trio.sleep(2.0)
        await page.screenshot(IMAGES / "console-call.png", whole=True)
        await go(page, "past")
        await page.screenshot(IMAGES / "console-past.png")
    async with browser.page(address, width=TELEPHONE[0], height=TELEPHONE[1], dark=True) as page:
        await go(page, call)
        await page.screenshot(IMAGES / "console-telephone.png")


async def main() -> None:
    """Do it all."""
    if find_chromium() is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_microphone(folder / "microphone.wav")
        async with (
            running(folder, "--set", "recording.enabled=true") as (_, server),
            chromium(folder / "profile", microphone=folder / "microphone.wav") as browser,
        ):
            await take_pictures(browser, f"{server['url']}/?token={server['token']}")


if __name__ == "__main__":
    trio.run(main)
