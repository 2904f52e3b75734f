"""Records the calls in tests/recorded anew: `python -m tests.tools.record_calls [NAME ...]`.

Real calls over real sockets: the server, the embedded Realtime server with its voice, and the telephone, with recorded speech
where there is some. The journals must replay to the same commands for ever, so this is run only when the state machine was
changed on purpose; the difference that the old journals show (`trio-voice replay`) is what the change did.
"""

from __future__ import annotations

import gzip
import logging
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog
import trio
from attrs import define, evolve, field, frozen
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from trio_voice.config import Settings
from trio_voice.core.settings import CallSettings
from trio_voice.phone.caller import FRAME_S, PhoneCall
from trio_voice.phone.carrier import Carrier, Happening, Identity
from trio_voice.phone.conversation import synthetic_sentences
from trio_voice.phone.scenario import AfterAgent, DuringAgent, HangUp, Performance, Press, Say, Scenario, Step
from trio_voice.phone.speech import SpeechUnavailableError, get_prompts, speech_folder
from trio_voice.phone.voice import Speech
from trio_voice.plan import call_plan
from trio_voice.server.answering import Answering
from trio_voice.server.directory import CallDirectory
from trio_voice.server.front_door import open_listeners, serve
from trio_voice.storage.journal_file import WRITE_EVERY_S
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Verdict, replay
from trio_voice.storage.writing import Writing

FOLDER = Path(__file__).resolve().parents[1] / "recorded"
VERSION = "recorded"
CALL_LIMIT_S = 90.0
START_LIMIT_S = 30.0
MODEL_AWAY_S = 1.5
SCRIPT = """
name = "two questions"
[[rule]]
when = { instructions = "(?i)goodbye" }
say = "Goodbye."
[[rule]]
when = { instructions = "(?i)silent" }
say = "Are you still there?"
[[rule]]
when = { about = "digits" }
say = "You pressed {digits}."
[[rule]]
when = { about = "nothing" }
say = "Good morning. How can I help you?"
[[rule]]
when = { turn = 1 }
say = "I see. Before I look for an appointment, please tell me three things: your name, your telephone number, one digit after the
other, and the day that would suit you best, in this week or in the next."
[[rule]]
when = { turn = 2 }
parts = [{ say = "Thank you. Goodbye!" }, { call = "hang_up", arguments = { reason = "everything is said" } }]
[[rule]]
say = "Very well."
""".replace("the\nother", "the other")


@define(eq=False)
class Model:
    """The embedded Realtime server in a process of its own: it can be killed, and comes back at the same address."""

    script: Path
    port: int
    switches: tuple[str, ...] = ()
    _process: trio.Process | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    async def start(self) -> None:
        command = [sys.executable, "-m", "trio_voice", "model", "--port", str(self.port), "--script", str(self.script)]
        command += [f"--set={switch}" for switch in self.switches]
        self._process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with trio.fail_after(START_LIMIT_S):
            while self._process.poll() is None:
                with suppress(OSError):
                    await (await trio.open_tcp_stream("127.0.0.1", self.port)).aclose()
                    return
                await trio.sleep(0.05)
        raise RuntimeError(f"the model did not start: {' '.join(command)}")

    async def kill(self) -> None:
        if self._process is not None:
            with trio.CancelScope(shield=True):
                self._process.kill()
                await self._process.wait()

    async def die_and_come_back(self) -> None:
        await self.kill()
        await trio.sleep(MODEL_AWAY_S)
        await self.start()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Place = Callable[[str, Scenario, Model], Awaitable[None]]


async def telephone(url: str, scenario: Scenario, model: Model) -> None:
    """An ordinary call."""
    async with PhoneCall.place(url, scenario) as call:
        await call.finished()


async def telephone_while_the_model_dies(url: str, scenario: Scenario, model: Model) -> None:
    """The model dies as its second reply begins to be heard."""
    async with PhoneCall.place(url, scenario) as call:
        replies = 0
        async for event in call.events():
            replies += event.what is Happening.AGENT_HEARD
            if event.what is Happening.AGENT_HEARD and replies == 2:
                await model.die_and_come_back()


async def telephone_that_echoes_no_marks(url: str, scenario: Scenario, model: Model) -> None:
    """A carrier that takes marks and says nothing about them."""
    carrier, performance = Carrier(Identity.made_up()), Performance(scenario)
    with suppress(ConnectionClosed):
        async with open_websocket_url(url) as socket, trio.open_nursery() as nursery:
            for message in carrier.answer(trio.current_time()):
                await socket.send_message(message)
            nursery.start_soon(_listen, socket, carrier, nursery.cancel_scope)
            frames = 0
            hangs_up = False
            while not hangs_up:
                await trio.sleep_until(carrier.answered_at + (frames + 1) * FRAME_S)
                carrier.advance(trio.current_time())
                frame = performance.perform(bytes(carrier.heard[frames * 160 : frames * 160 + 160]))
                frames, hangs_up = frames + 1, frame.hangs_up
                await socket.send_message(carrier.speak(frame.said))
            await socket.send_message(carrier.stop(trio.current_time())[-1])
            nursery.cancel_scope.cancel()


async def _listen(socket: WebSocketConnection, carrier: Carrier, line: trio.CancelScope) -> None:
    with suppress(ConnectionClosed):
        while True:
            carrier.receive(await socket.get_message(), trio.current_time())
    line.cancel()


@frozen
class Recording:
    """A call that is worth keeping: what the caller does (given two sentences), and on which line."""

    steps: Callable[[Speech, Speech], Sequence[Step]]
    place: Place = telephone
    settings: CallSettings = field(factory=CallSettings)
    keep_audio: bool = False
    switches: tuple[str, ...] = ()
    """Of the model."""


RECORDINGS = {
    "two_turns_and_a_goodbye": Recording(lambda one, two: [Say(one), Say(two), HangUp(AfterAgent(8.0))]),
    "barge_in_while_the_model_speaks": Recording(
        lambda one, two: [Say(one), Say(two, DuringAgent(0.2))],
        switches=("pace=4",),  # else a busy machine has said everything by then
    ),
    "barge_in_after_the_model_has_spoken": Recording(lambda one, two: [Say(one), Say(two, DuringAgent(3.5))]),
    "barge_in_that_is_confirmed": Recording(
        lambda one, two: [Say(one), Say(two, DuringAgent(2.0))], settings=CallSettings(barge_in_confirm_ms=300)
    ),
    "caller_hangs_up_in_mid_reply": Recording(lambda one, two: [Say(one), HangUp(DuringAgent(1.0))]),
    "model_dies_and_comes_back": Recording(lambda one, two: [Say(one), Say(two)], telephone_while_the_model_dies),
    "digits": Recording(lambda one, two: [Press("4711#"), HangUp(AfterAgent(1.0))]),
    "carrier_that_echoes_no_marks": Recording(
        lambda one, two: [Say(two), HangUp(DuringAgent(4.0))], telephone_that_echoes_no_marks
    ),
    "silent_caller": Recording(
        lambda one, two: [HangUp(AfterAgent(60.0, 60.0))], settings=CallSettings(idle_s=2.0, idle_prompts=1)
    ),
    "audio_that_was_kept": Recording(lambda one, two: [HangUp(DuringAgent(0.8))], keep_audio=True),
}


async def record(name: str, sentences: tuple[Speech, Speech], target: Path) -> None:
    """Live one call in a world of its own, and keep its journal."""
    recording = RECORDINGS[name]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.toml"
        await trio.Path(script).write_text(SCRIPT, "utf-8")
        model = Model(script, free_port(), recording.switches)
        plan = call_plan(Settings(call=recording.settings), model.url, VERSION)
        journals = Writing(WRITE_EVERY_S)
        answering = Answering(evolve(plan, keep_audio=recording.keep_audio), CallDirectory(), Path(folder), journals)
        try:
            await model.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journals.run)
                listeners = await open_listeners("127.0.0.1", 0)
                port = listeners[0].socket.getsockname()[1]
                nursery.start_soon(partial(serve, listeners, media=answering, app=_no_pages, draining=trio.Event()))
                scenario = Scenario(recording.steps(*sentences), limit_s=CALL_LIMIT_S)
                await recording.place(f"ws://127.0.0.1:{port}/media/twilio", scenario, model)
                assert await answering.directory.wait_empty(20)
                nursery.cancel_scope.cancel()
        finally:
            await model.kill()
        keep(name, Path(folder), target)


def keep(name: str, calls: Path, target: Path) -> None:
    """Keep the journal of the only call, if it is good."""
    (journal,) = calls.glob("*/call.jsonl")
    text = journal.read_text("utf-8")
    replayed = replay(JournalReader(iter(text.splitlines())))
    print(f"{name}: {replayed.last_t:.1f} s, {replayed.verdict.value}{'' if replayed.ended else ', NOT ENDED'}")
    assert replayed.verdict is Verdict.SAME, replayed.difference
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


async def _no_pages(scope: object, receive: object, send: object) -> None:
    """These calls come without pages."""


async def main(names: Sequence[str]) -> None:
    """Record these calls, all at the same time; without names, all."""
    try:
        prompts = get_prompts(speech_folder(), print)
        sentences = prompts.say("tt-weasels"), prompts.say("vm-nonumber")
    except SpeechUnavailableError as error:
        print(f"No recorded speech here ({error}): the caller is synthetic.")
        first, second, *_ = synthetic_sentences()
        sentences = first, second
    async with trio.open_nursery() as nursery:
        for name in names or RECORDINGS:
            nursery.start_soon(record, name, sentences, FOLDER / f"{name}.jsonl.gz")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    trio.run(main, sys.argv[1:])
