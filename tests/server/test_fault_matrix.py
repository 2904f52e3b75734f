"""Every fault of the embedded server in every phase of a call: it goes on, or ends politely, and never in unexplained silence.

The call: a greeting; a turn that needs a tool; a turn in which the agent hands over to another with another voice; a goodbye. The
caller speaks at set times and waits in between. Silence is unexplained when the telephone sounds of nothing, nobody speaks into
it, and it is not the caller's turn (as the journal's replay knows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field, frozen

from tests.server.embedded import Embedded, embedded_server
from tests.server.rig import QUIET, Rig, Telephone, assert_complete, journals, rig
from trio_voice.agent.agent import Agent
from trio_voice.agent.context import CallContext
from trio_voice.agent.tool import tool
from trio_voice.audio.g711 import ULAW_SILENCE, pcm16_to_ulaw
from trio_voice.core.lifeline import Lifeline
from trio_voice.core.settings import CallSettings
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.realtime_server.script import parse_script
from trio_voice.server.websocket import SocketClosed
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Replay

SCRIPT = """
[[heard]]
transcript = "words of the caller"
[[rule]]
when = { about = "function_output", function = "hang_up" }
say = "Bye."
[[rule]]
when = { about = "function_output" }
say = "That is so, as I have seen."
[[rule]]
when = { note = "handed this call over" }
say = "Hello, I have taken over."
[[rule]]
when = { instructions = "Say exactly|Say only|silent|goodbye" }
say = "One two three."
[[rule]]
when = { about = "nothing", response = 1 }
say = "Good morning, how can I help you?"
[[rule]]
when = { about = "speech", tool = "transfer", turn = 1 }
parts = [{ say = "One moment, I look that up for you." }, { call = "look_up" }]
[[rule]]
when = { about = "speech", tool = "transfer" }
parts = [{ say = "I hand you over." }, { call = "transfer" }]
[[rule]]
when = { about = "speech", tool = "bill" }
parts = [{ say = "Thank you for your call, and goodbye." }, { call = "hang_up" }]
[[rule]]
say = "Go on."
"""
SPEECH = pcm16_to_ulaw(synthetic_speech(1, 1.5))
SPEAKS_AT = (4.0, 14.0, 24.0)
LONGEST_S = 50.0
LONGEST_SILENCE_S = 3.0
PING_EVERY_S = 1.0


@tool(filler="One moment.")
async def look_up() -> str:
    """Look something up."""
    await trio.sleep(2)
    return "found"


@tool
async def bill() -> str:
    """Look up the bill."""
    return "nothing"


BILLING = Agent(name="billing", instructions="Bill.", voice="cedar", tools=[bill])


@tool
async def transfer(call: CallContext) -> str:
    """Hand over."""
    call.hand_off(BILLING)
    return "handed over"


FRONT = Agent(name="front", instructions="Front.", voice="marin", tools=[look_up, transfer])


# --- faults


def switched(**switches: Any) -> Callable[[Embedded], None]:
    """Of the sessions that are."""
    return lambda server: server.switch_sessions(**switches)


def after_a_reset(**switches: Any) -> Callable[[Embedded], None]:
    """Of the server, which drops its connections."""

    def inject(server: Embedded) -> None:
        server.switch(**switches)
        server.kill()
        server.dead = False

    return inject


def gone_without_a_word(server: Embedded) -> None:
    """Half open, the connections that are and those to come: nothing is read and nothing said."""
    server.switch_sessions(silent_after_s=0.001)
    server.deaf = True


FAULTS: Mapping[str, Callable[[Embedded], None]] = {
    "jitter_ms": switched(jitter_ms=400),
    "duplicate_every": switched(duplicate_every=2),
    "reorder_every": switched(reorder_every=3),
    "unknown_every": switched(unknown_every=2),
    "stragglers": switched(stragglers=5),
    "late_done": switched(late_done=True),
    "missing_done": switched(missing_done=1),
    "refuse_creates": switched(refuse_creates=1),
    "fail_responses": switched(fail_responses=1),
    "fail_responses, quota": switched(fail_responses=1, fail_code="insufficient_quota"),
    "stall_ms": switched(stall_after_ms=200, stall_ms=2000),
    "surplus_pcm_ms": switched(surplus_pcm_ms=500),
    "late_item_acks": switched(late_item_acks=True),
    "cancel_ms": switched(cancel_ms=2000),
    "pace": switched(pace=1.0),
    "first_audio_ms": switched(first_audio_ms=1500),
    "reject_updates": lambda server: server.switch(reject_updates=1),
    "close 1001": switched(close_after_s=0.001, close_code=1001),
    "close 1006": switched(close_after_s=0.001, close_code=1006),
    "close 1011": switched(close_after_s=0.001, close_code=1011),
    "close 1013": switched(close_after_s=0.001, close_code=1013),
    "reset": switched(reset_after_s=0.001),
    "silent_after_s": switched(silent_after_s=0.001),
    "gone without a word": gone_without_a_word,
    "refuse_upgrades": after_a_reset(refuse_upgrades=2),
    "no_quota": after_a_reset(no_quota=True),
}
PHASES = ("greeting", "speaking", "reply", "tool", "switch", "goodbye")
QUICK = [
    ("close 1006", "speaking"),
    ("reset", "switch"),
    ("refuse_upgrades", "reply"),
    ("no_quota", "tool"),
    ("reject_updates", "switch"),
    ("fail_responses", "goodbye"),
    ("silent_after_s", "speaking"),
    ("gone without a word", "reply"),
]


# --- a call


@frozen
class Outcome:
    """How a call went."""

    journal: list[dict[str, Any]]
    reason: str
    lasted_s: float
    silence_s: float
    silent_at_s: float
    apologised: bool


@define
class Scene:
    """One call; `inject` happens at `at_s`."""

    inject: Callable[[Embedded], None] = field(default=lambda _server: None)
    at_s: float = 1e9

    async def play(self, folder: Path) -> Outcome:
        settings = CallSettings(idle_s=0, longest_call_s=600)
        options: dict[str, Any] = {"transcription_model": "gpt-4o-mini-transcribe", "comfort": b"\x30" * 1600}
        async with (
            embedded_server(parse_script(SCRIPT, "test")) as server,
            rig(folder, settings=settings, agent=FRONT, model=server.handle, ping_every_s=PING_EVERY_S, **options) as world,
            world.call() as phone,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._inject, server)
            await self._speak(phone)
            await phone.end()
            server.kill()  # what is half open would stay
            nursery.cancel_scope.cancel()
            phone.carrier.advance(trio.current_time())
            heard, said = bytes(phone.carrier.heard), bytes(phone.carrier.said)
        (path,) = journals(folder)
        assert_complete(path)
        silence_s, at_s = unexplained_silence(path, heard, said)
        return self._outcome(world, silence_s, at_s)

    async def _inject(self, server: Embedded) -> None:
        await trio.sleep_until(self.at_s)
        self.inject(server)

    async def _speak(self, phone: Telephone) -> None:
        try:
            while phone.carrier.streaming and trio.current_time() < LONGEST_S:
                if any(abs(trio.current_time() - at) < 0.011 for at in SPEAKS_AT):
                    await phone.speak(SPEECH)
                else:
                    await phone.say(1)
            await phone.hang_up()
        except SocketClosed:
            pass

    def _outcome(self, world: Rig, silence_s: float, at_s: float) -> Outcome:
        journal = world.journal()
        last = journal[-1]
        apologised = any(line.get("command") == "PlayAudio" and line["response_id"] == "apology" for line in journal)
        return Outcome(journal, last["reason"], last["t"], silence_s, at_s, apologised)


def unexplained_silence(path: Path, heard: bytes, said: bytes) -> tuple[float, float]:
    """The longest, in seconds, and when it ended."""
    lifelines = list(whose_turn(path))
    longest, ended_at, silent, place = 0.0, 0.0, 0.0, 0
    for frame in range(min(len(heard), len(said)) // 160):
        at_s = frame * 0.02
        while place + 1 < len(lifelines) and lifelines[place + 1][0] <= at_s:
            place += 1
        here = slice(frame * 160, frame * 160 + 160)
        sounds = heard[here].count(ULAW_SILENCE) < 160 or said[here] != QUIET
        explained = lifelines[place][1] in (Lifeline.THE_CALLERS_TURN, Lifeline.NOT_STARTED)
        silent = 0.0 if sounds or explained else silent + 0.02
        if silent > longest:
            longest, ended_at = silent, at_s
    return round(longest, 2), ended_at


def whose_turn(path: Path) -> Iterator[tuple[float, Lifeline | None]]:
    """What kept the call alive, from when on."""
    reader = JournalReader(iter(path.read_text("utf-8").splitlines()))
    replay = Replay(reader.header)
    for line in reader:
        replay.take(line)
        yield line.t, replay.call.lifeline()


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """When each phase is, in a call without faults."""
    outcome = trio.run(Scene().play, tmp_path_factory.mktemp("clean"), clock=trio.testing.MockClock(autojump_threshold=0))
    assert (outcome.reason, outcome.silence_s <= LONGEST_SILENCE_S) == ("the agent ended the call", True)

    def when(kind: str, name: str, number: int = 0) -> float:
        found = [line["t"] for line in outcome.journal if line.get(kind) == name]
        return float(found[number])

    turn = next(line["t"] for line in outcome.journal if line.get("purpose") == "turn")
    reply = next(line["t"] for line in outcome.journal if line.get("command") == "PlayAudio" and line["t"] > turn)
    return {
        "greeting": when("command", "PlayAudio") + 0.3,
        "speaking": when("event", "SpeechStarted") + 0.5,
        "reply": float(reply) + 0.2,
        "tool": when("command", "RunTool") + 0.5,
        "switch": when("event", "ChangeAsked") + 0.2,
        "goodbye": when("event", "HangUpAsked") + 0.1,
    }


def run(fault: str, phase: str, moments: Mapping[str, float], folder: Path) -> Outcome:
    scene = Scene(FAULTS[fault], moments[phase])
    return trio.run(scene.play, folder, clock=trio.testing.MockClock(autojump_threshold=0))


def assert_good(outcome: Outcome) -> None:
    assert outcome.silence_s <= LONGEST_SILENCE_S, f"silent for {outcome.silence_s} s until {outcome.silent_at_s} s"
    assert outcome.lasted_s <= LONGEST_S + 1
    if outcome.reason not in ("the agent ended the call", "the carrier sent stop"):
        assert outcome.apologised, outcome.reason


@pytest.mark.parametrize(("fault", "phase"), QUICK)
def test_r26_a_fault_in_a_phase_of_a_call(fault: str, phase: str, moments: dict[str, float], tmp_path: Path) -> None:
    assert_good(run(fault, phase, moments, tmp_path))


@pytest.mark.prove
def test_r26_every_fault_in_every_phase(moments: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, bad = [], []
    for fault in FAULTS:
        cells = []
        for phase in PHASES:
            outcome = run(fault, phase, moments, tmp_path / f"{fault} {phase}")
            how = "sorry" if outcome.apologised else "ended" if outcome.reason == "the agent ended the call" else "on"
            cells.append(f"{how} {outcome.silence_s:.1f}")
            try:
                assert_good(outcome)
            except AssertionError as error:
                bad.append(f"{fault}, {phase}: {error}")
        rows.append(f"{fault:24}" + "".join(f"{cell:>12}" for cell in cells))
    with capsys.disabled():
        print(f"\n{'fault':24}" + "".join(f"{phase:>12}" for phase in PHASES))
        print("\n".join(rows))
        print("ended: with a goodbye; on: until the caller hung up; sorry: with an apology; the longest unexplained silence in s")
    assert not bad, "\n".join(bad)
