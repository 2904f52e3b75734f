"""What the softphone does with sound, and the story that the console makes of a journal: Python makes the same of both."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

from tests.end_to_end.chromium import Page, chromium, find_chromium
from tests.end_to_end.test_console_pages import desk
from trio_voice.audio.g711 import pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.storage.timeline_lanes import read_lanes
from trio_voice.web.console_past import is_frame

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here: apt-get install chromium")

RECORDED = [
    gzip.decompress(path.read_bytes()).decode().splitlines()
    for path in sorted((Path(__file__).parents[1] / "recorded").glob("*.jsonl.gz"))
]
assert len(RECORDED) > 5


@frozen
class Modules:
    """The console's modules in a page."""

    page: Page

    async def run(self, module: str, script: str) -> Any:
        """Evaluate the body of a function in which `m` is one of the modules."""
        return await self.page.evaluate(f"import('/console/files/{module}').then(async (m) => {{ {script} }})")


async def check_mu_law(modules: Modules) -> None:
    every = np.arange(-32768, 32768, dtype="<i2")
    script = "return btoa(Array.from({ length: 65536 }, (_, n) => String.fromCharCode(m.encodeSample(n - 32768))).join(''))"
    assert b64decode(await modules.run("g711.js", script)) == pcm16_to_ulaw(every.tobytes())
    decoded = await modules.run("g711.js", "return Array.from({ length: 256 }, (_, byte) => m.decodeSample(byte))")
    assert decoded == np.frombuffer(ulaw_to_pcm16(bytes(range(256))), "<i2").tolist()
    assert await modules.run("g711.js", "return [...m.encode([0, 2, -2]), ...m.decode(m.encode([0]))]") == [0xFF, 0x80, 0x00, 0]


async def check_resampling(modules: Modules) -> None:
    """A tone within the telephone's band passes as it is, one above it does not; piecewise is the same as at once."""
    script = """
      const tone = (hz, rate) => Float32Array.from({ length: rate }, (_, n) => Math.sin((2 * Math.PI * hz * n) / rate));
      const level = (samples) => {
        const inner = samples.slice(400, -400);
        return 10 * Math.log10(2 * inner.reduce((sum, each) => sum + each * each, 0) / inner.length + 1e-12);
      };
      const found = [];
      for (const rate of [16000, 44100, 48000, 96000]) {
        const down = (hz) => new m.Resampler(rate, 8000).process(tone(hz, rate));
        const pieces = new m.Resampler(rate, 8000);
        const whole = tone(1000, rate);
        const joined = [];
        for (let at = 0; at < whole.length; at += 128) joined.push(...pieces.process(whole.subarray(at, at + 128)));
        const once = down(1000);
        found.push({
          rate, samples: once.length, same: joined.length === once.length && joined.every((each, n) => each === once[n]),
          passed: [300, 1000, 3000].map((hz) => level(down(hz))), stopped: level(down(5200)),
          up: level(new m.Resampler(8000, rate).process(tone(1000, 8000))),
        });
      }
      return found;"""
    for found in await modules.run("resample.js", script):
        assert found["same"], found
        assert 7900 < found["samples"] <= 8000, found
        assert all(abs(level) < 0.2 for level in [*found["passed"], found["up"]]), found
        assert found["stopped"] < -40, found


async def check_jitter_buffer(modules: Modules) -> None:
    """It waits 60 ms, plays in order, tells marks when they are reached, and drops all at a clear."""
    script = """
      const piece = (value, ms) => new Float32Array(8 * ms).fill(value);
      const buffer = new m.JitterBuffer();
      const read = (ms) => {
        const out = piece(9, ms);
        const marks = buffer.read(out);
        return [out[0], out.at(-1), ...marks];
      };
      const found = {};
      buffer.mark("empty");
      found.atOnce = read(10);
      buffer.push(piece(0.25, 40)); buffer.mark("a");
      found.waits = read(20);
      buffer.push(piece(0.5, 40)); buffer.mark("b");
      found.begins = read(20); found.goesOn = read(10); found.reachesA = read(10);
      found.second = read(30); found.reachesB = read(20);
      buffer.push(piece(0.5, 20)); buffer.mark("short");
      found.short = [read(80), read(10), read(20)];
      buffer.push(piece(0.5, 200)); buffer.mark("c"); buffer.push(piece(0.5, 20)); buffer.mark("d");
      read(100);
      found.cleared = buffer.clear();
      const after = piece(9, 20); buffer.read(after);
      found.fades = [after[0] < 0.5, after[39], after[159]];
      found.waitsLonger = buffer.startMs;
      buffer.push(piece(0.5, 100));
      found.playsAgain = read(20)[1];
      return found;"""
    found = await modules.run("jitter.js", script)
    assert found["atOnce"] == [0, 0, "empty"]
    assert found["waits"] == [0, 0]
    assert found["begins"] == [0.25, 0.25]
    assert found["goesOn"] == [0.25, 0.25]
    assert found["reachesA"] == [0.25, 0.25, "a"]
    assert found["second"] == [0.5, 0.5]
    assert found["reachesB"] == [0.5, 0, "b"]
    assert found["short"] == [[0, 0], [0.5, 0.5], [0.5, 0, "short"]], (
        "it waits longer, as this was late, and begins then, however little there is"
    )
    assert found["cleared"] == ["c", "d"]
    assert found["fades"] == [True, 0, 0]
    assert found["waitsLonger"] == 100, "what came soon after it had run dry was late, twice"
    assert found["playsAgain"] == 0.5


async def check_story(modules: Modules, lines: list[str]) -> None:
    lanes = read_lanes(lines)
    watched = [line for line in lines if not is_frame(line)]
    script = f"""
      const story = new m.Story();
      {json.dumps(watched)}.forEach((line) => story.take(JSON.parse(line)));
      const {{ turns, replies, said, bargeIns, endReason }} = story;
      const agent = said.filter((each) => each.who === "agent").map((each) => each.text);
      return {{ turns, replies, bargeIns, endReason, agent }};"""
    story = await modules.run("story.js", script)
    turns = [(turn.item_id, turn.started_s, turn.stopped_s, turn.committed_s) for turn in lanes.turns]
    assert [tuple(turn.values()) for turn in story["turns"]] == turns
    replies = [(each.response_id, each.requested_s, each.created_s, each.done_s, each.status) for each in lanes.responses]
    told = [(each["id"], each["requested"], each["created"], each["done"], each["status"]) for each in story["replies"]]
    assert sorted(told, key=str) == sorted(replies, key=str)
    assert story["bargeIns"] == lanes.barge_ins_s
    assert sorted(" ".join(story["agent"]).split()) == sorted(" ".join(text.text for text in lanes.agent_texts).split())
    assert (story["endReason"] is not None) == ('"Close"' in lines[-1])


async def test_r39_the_softphones_sound_and_the_consoles_story_are_right(tmp_path: Path) -> None:
    async with (
        desk(tmp_path) as server,
        chromium(tmp_path / "profile") as browser,
        browser.page(f"{server.url}/?token=t0ken") as page,
    ):
        modules = Modules(page)
        await check_mu_law(modules)
        await check_resampling(modules)
        await check_jitter_buffer(modules)
        for lines in RECORDED:
            await check_story(modules, lines)
