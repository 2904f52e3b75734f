"""What a call leaves behind, from a call on a memory stream."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from trio.testing import MockClock

from tests.phone.fake_server import TONE, FakeServer, serving
from trio_voice.errors import UserError
from trio_voice.phone import results
from trio_voice.phone.caller import PhoneCall
from trio_voice.phone.results import summary, write_results
from trio_voice.phone.scenario import AfterAgent, HangUp, Say, Scenario
from trio_voice.phone.voice import prepare_speech, to_pcm16

SENTENCE = prepare_speech(
    to_pcm16(np.sin(np.arange(8000) / 2) * 9000), "What a sentence, so long that nobody would want to read it all."
)


async def answer(server: FakeServer) -> None:
    """Greet; answer what is said half a second after it; once, send nonsense."""
    await server.play(TONE * 25)
    await server.socket.send_message("nonsense")
    while len(server.of("media")) < 120:
        await server._arrival.wait()
    await server.play(TONE * 25)


async def a_call(scenario: Scenario | None = None) -> PhoneCall:
    scenario = scenario or Scenario([Say(SENTENCE, AfterAgent(0.2)), HangUp(AfterAgent(0.3))])
    async with serving(answer) as (stream, _), PhoneCall.over(stream, scenario) as call:
        await call.finished()
    return call


async def test_both_voices_the_journal_and_the_picture_are_written(autojump_clock: MockClock, tmp_path: Path) -> None:
    call = await a_call()
    paths, failures = write_results(call, tmp_path / "c1", ['{"journal":1}', '{"t":1.0,"timer":"watchdog"}'])
    assert failures == []
    assert [path.name for path in paths] == ["caller.wav", "call.wav", "call.jsonl", "call.png"]
    with wave.open(str(paths[0]), "rb") as file:
        assert (file.getnchannels(), file.getnframes()) == (1, len(call.carrier.heard))
    with wave.open(str(paths[1]), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    left, right = (np.abs(both[:, side].astype(int)) for side in (0, 1))
    assert right[:4000].min() > 1000  # the greeting, on the right
    assert left[:4000].max() < 200
    assert left[8000:12000].max() > 5000  # the caller's sentence, on the left
    assert paths[2].read_text("utf-8") == '{"journal":1}\n{"t":1.0,"timer":"watchdog"}\n'


async def test_the_servers_own_journal_is_left_as_it_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "call.jsonl").write_text('{"journal":1,"whole":true}\n', "utf-8")
    write_results(await a_call(), tmp_path, ['{"journal":1}'])
    assert (tmp_path / "call.jsonl").read_text("utf-8") == '{"journal":1,"whole":true}\n'


async def test_without_a_journal_there_are_recordings_and_a_picture(autojump_clock: MockClock, tmp_path: Path) -> None:
    paths, _ = write_results(await a_call(), tmp_path, [])
    assert [path.name for path in paths] == ["caller.wav", "call.wav", "call.png"]


async def test_a_picture_that_cannot_be_drawn_is_said_so_and_the_rest_is_kept(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object, **__: object) -> None:
        raise UserError("no picture: matplotlib is not installed")

    monkeypatch.setattr(results, "draw_timeline", draw)
    paths, failures = write_results(await a_call(), tmp_path, [])
    assert [path.name for path in paths] == ["caller.wav", "call.wav"]
    assert failures == ["no picture: matplotlib is not installed"]


async def test_a_folder_that_cannot_be_written_is_the_users_mistake(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_results(await a_call(), tmp_path / "file" / "c1", [])


async def test_the_summary_has_the_turns_the_latencies_and_the_warnings(autojump_clock: MockClock) -> None:
    lines = summary(await a_call())
    warning = lines.pop(5)
    assert warning.startswith("    0.00 s  31951 JSON is malformed")
    assert warning.endswith(": nonsense")
    assert lines == [
        "The call lasted 3.2 s and was ended by the caller (code 1000).",
        "  turn 1  at   0.70 s  What a sentence, so long that nobody would want to read i...  answered after 0.70 s",
        "  from the caller's last sound to the agent's first: median 0.70 s, longest 0.70 s",
        "    (with the silence that ends a turn; the server's own time to first audio begins after that silence)",
        "  warnings of the carrier: 1",
        "  this phone sent its frames at most 0 ms late",
    ]


async def test_the_summary_of_a_call_without_a_word(autojump_clock: MockClock) -> None:
    lines = summary(await a_call(Scenario([], hang_up_at_s=0.1)))
    assert lines[0] == "The call lasted 0.1 s and was ended by the caller (code 1000)."
    assert not [line for line in lines if "turn" in line or "last sound" in line]


async def test_the_summary_of_an_utterance_that_the_end_of_the_call_cut_off(autojump_clock: MockClock) -> None:
    lines = summary(await a_call(Scenario([Say(SENTENCE, AfterAgent(0.2))], hang_up_at_s=1.0)))
    assert lines[1].endswith("i...  the call ended before it did")
