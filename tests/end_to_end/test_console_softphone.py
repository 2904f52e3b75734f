"""The softphone in a real browser: a person's recorded voice at its microphone, the agent's answers at its loudspeaker."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from tests.end_to_end.chromium import Page, chromium, find_chromium
from tests.end_to_end.test_program import running
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.wav import write_wav_8khz
from trio_voice.phone.speech import open_prompts, speech_folder

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here: apt-get install chromium")
PROMPTS = open_prompts(speech_folder())

SPOKEN_S, LOOP_S = (1.0, 4.5, 9.0, 13.5), 60.0
"""When the person speaks. At the second time the agent is in the middle of its answer, on a slow machine at a later one."""
SETTINGS = ("--set", "call.greeting=false", "--set", "recording.enabled=true", "--set", "recording.path={dialect}/{call_id}.wav")

LISTEN = """import("/console/files/phone.js").then(({ phone }) => {
  // What the loudspeaker gets is looked at every 20 ms; so is the moment of each clear.
  const analyser = phone.context.createAnalyser();
  analyser.fftSize = 256;
  phone.player.connect(analyser);
  const samples = new Float32Array(256);
  window.heard = [];
  window.cleared = [];
  const clear = phone.line.on.clear;
  phone.line.on.clear = () => { window.cleared.push(performance.now()); clear(); };
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    window.heard.push([performance.now(), Math.max(...samples.map(Math.abs))]);
  }, 20);
  return true;
})"""

CUT_OFF = "window.cleared.find((t) => window.heard.some(([at, level]) => level > 0.05 && at > t - 400 && at < t))"
"""When the agent was cut off in the middle of a word, or shortly after one."""


def write_microphone(path: Path) -> None:
    """A person who says something, listens to the beginning of the answer, and interrupts it."""
    assert PROMPTS is not None
    line = np.zeros(int(LOOP_S * 8000), "<i2")
    for number, at_s in enumerate(SPOKEN_S):
        pcm16 = np.frombuffer(ulaw_to_pcm16(PROMPTS.say("hello-world" if number else "vm-goodbye").ulaw), "<i2")
        line[int(at_s * 8000) : int(at_s * 8000) + len(pcm16)] = pcm16
    write_wav_8khz(path, line.tobytes())


async def journal_of(page: Page) -> list[dict[str, Any]]:
    """The lines of the softphone's call, from the console."""
    call_id = await page.evaluate("import('/console/files/phone.js').then(({ phone }) => phone.story.header.call_id)")
    story = await page.evaluate(f"fetch('/console/calls/{call_id}').then((answer) => answer.json())")
    return list(story["lines"])


def only(lines: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [line for line in lines if name in (line.get("event"), line.get("command"))]


@pytest.mark.skipif(PROMPTS is None, reason="no recorded speech here: make speech")
async def test_r39_the_agent_answers_the_softphone_and_falls_silent_when_the_person_speaks(tmp_path: Path) -> None:
    write_microphone(tmp_path / "microphone.wav")
    async with (
        running(tmp_path, *SETTINGS) as (process, server),
        chromium(tmp_path / "profile", microphone=tmp_path / "microphone.wav") as browser,
        browser.page(f"{server['url']}/?token={server['token']}#/phone") as page,
    ):
        await page.evaluate("location.hash = '#/phone'")
        await page.click("button.primary")
        await page.wait_for("document.querySelector('.phone-status')?.textContent === 'in a call'")
        await page.evaluate(LISTEN)
        cleared = await page.wait_for(CUT_OFF, 18)  # the agent was speaking
        await trio.sleep(0.6)
        heard = await page.evaluate("window.heard")
        assert max(level for at, level in heard if cleared + 150 < at < cleared + 550) == 0, "and fell silent at once"

        await page.click(".keypad button:nth-child(5)")
        await page.wait_for("document.querySelector('.digits').textContent === '5'")
        await page.click("button[aria-pressed=false]")
        await page.wait_for("document.querySelector('.phone .meter.caller').getAttribute('aria-valuetext') === '-60 dBFS'")
        assert await page.evaluate("document.querySelector('button[aria-pressed=true]').textContent") == "Unmute"
        await page.evaluate("location.hash = '#/'")
        await page.wait_for("document.querySelectorAll('.call-card').length === 1")
        await page.click("#strip-hang-up")
        await page.wait_for("document.querySelectorAll('.call-card').length === 0")
        with trio.fail_after(5):
            lines = await journal_of(page)
            while not only(lines, "Close"):
                await trio.sleep(0.1)
                lines = await journal_of(page)
        check_journal(lines, tmp_path / "calls")
        await page.evaluate(f"location.hash = '#/call/{lines[0]['call_id']}'")
        await page.wait_for("document.querySelector('audio')?.readyState > 0")
        recorded_s = await page.evaluate("document.querySelector('audio').duration")
        assert abs(recorded_s - lines[-1]["t"]) < 0.5, "the recording is as long as the call"
        assert page.complaints == []
        await check_end(process, page)


async def check_end(process: trio.Process, page: Page) -> None:
    """A console that is open does not hold the server, and says that it has gone."""
    await page.wait_for("document.getElementById('state').textContent === 'ready for calls'")
    process.send_signal(signal.SIGTERM)
    with trio.fail_after(4):
        await process.wait()
    await page.wait_for("document.getElementById('state').textContent === 'the server does not answer'")


def check_journal(lines: list[dict[str, Any]], calls_folder: Path) -> None:
    """What the server saw: the reply, its interruption, how much of it was heard, the key, the hang-up."""
    clear = only(lines, "ClearPlayback")[-1]
    (truncated,) = [line for line in only(lines, "TruncateItem") if line["t"] == clear["t"]]
    began = next(line["t"] for line in only(lines, "ModelTranscript") if line["item_id"] == truncated["item_id"])
    sent = [line for line in only(lines, "SendMark") if began < line["t"] < clear["t"]]
    echoed = only(lines, "PlaybackMarked")
    assert {line["name"] for line in sent} <= {line["name"] for line in echoed}, "each mark comes back"
    played = [line["t"] for line in echoed if began < line["t"] < clear["t"]]
    assert played
    assert played[-1] - played[0] > 0.5 * (clear["t"] - sent[0]["t"] - 0.5), "as its sound is heard, not all at once"
    heard_s = truncated["heard_ms"] / 1000
    assert 0 < heard_s < clear["t"] - sent[0]["t"] + 0.1
    assert [line["digit"] for line in only(lines, "DigitPressed")] == ["5"]
    assert [line["reason"] for line in only(lines, "CallerHungUp")] == ["the carrier sent stop"]
    (journal,) = calls_folder.glob("*/call.jsonl")
    levels = [json.loads(line)["level_dbfs"] for line in journal.read_text("utf-8").splitlines() if '"CallerAudio"' in line[:60]]
    assert max(level for level in levels if level is not None) > -30, "the person's voice arrived"
