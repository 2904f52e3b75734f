"""Everything, for real, in one process: the server, the embedded Realtime server and the telephone, over real sockets.

The clock runs four times as fast as the world's, for all three of them alike.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from trio_voice.agent.agent import Agent
from trio_voice.core.settings import CallSettings
from trio_voice.phone.caller import Ending, PhoneCall
from trio_voice.phone.carrier import Happening
from trio_voice.phone.scenario import Scenario, Step
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.phone.voice import Speech, prepare_speech
from trio_voice.realtime.settings import AudioFormat, SessionSettings
from trio_voice.realtime_server.script import Script, parse_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.server.answering import Answering
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.directory import CallDirectory
from trio_voice.server.front_door import open_listeners, serve
from trio_voice.server.model import ModelEndpoint
from trio_voice.storage.journal_file import WRITE_EVERY_S
from trio_voice.storage.writing import writing

_SCRIPT = """
name = "short answers"
[[rule]]
when = { instructions = "goodbye" }
say = "Goodbye."
[[rule]]
when = { about = "nothing" }
say = "Hello."
[[rule]]
when = { turn = 1 }
say = "LONG"
[[rule]]
when = { turn = 2 }
say = "Good."
[[rule]]
parts = [{ say = "Goodbye." }, { call = "hang_up", arguments = { reason = "done" } }]
"""
LONG = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen."
SCRIPT = _SCRIPT.replace("LONG", LONG)
BRIEF = _SCRIPT.replace("LONG", "Of course.")
"""For calls in which nobody interrupts the first answer."""


def sentence(seconds: float = 1.5, seed: int = 1) -> Speech:
    """A caller's sentence."""
    return prepare_speech(synthetic_speech(seed, seconds), "a sentence")


@define
class World:
    """Where everything is."""

    url: str
    calls_folder: Path
    directory: CallDirectory
    model_url: str

    async def call(self, steps: Sequence[Step], **scenario: Any) -> tuple[PhoneCall, Ending]:
        """Place a call, live it to its end, and wait until the server has let go of it."""
        async with PhoneCall.place(self.url, Scenario(steps, **scenario)) as call:
            ending = await call.finished()
        assert await self.directory.wait_empty(20)
        return call, ending

    def journals(self) -> list[Path]:
        """The journals of all calls."""
        return list(self.calls_folder.glob("*/call.jsonl"))

    def journal(self) -> list[dict[str, Any]]:
        """The lines of the only call's journal, but for single audio frames."""
        (path,) = self.journals()
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [line for line in lines if line.get("event") != "CallerAudio" and line.get("command") != "AppendAudio"]


def lateness_ms(call: PhoneCall) -> float:
    """How late a clear or a mark may have been by no fault of the server's.

    It passes four tasks of this process (two writers, two readers), each as late as the phone's own clock was at worst.
    """
    return 4 * call.lag_max_s * 1000


@define
class _Line:
    """What the journal says of the carrier's buffer. Places are bytes of mu-law since the call's begin."""

    sent: int = 0
    item_at: int | None = None
    """Where the item begins that was cut."""
    marks: dict[str, int] = field(factory=dict)
    """Those that were not echoed, and where they are."""
    heard: int = 0
    heard_at: float = 0.0

    def take(self, line: dict[str, Any], item_id: str) -> None:
        match line:
            case {"command": "PlayAudio"}:
                if line["item_id"] == item_id and self.item_at is None:
                    self.item_at = self.sent
                self.sent += line["audio"]["bytes"]
            case {"command": "SendMark"}:
                self.marks[line["name"]] = self.sent
            case {"event": "PlaybackMarked"}:
                self.heard, self.heard_at = self.marks.pop(line["name"]), line["t"]


def heard_of_the_cut_item_ms(lines: Sequence[dict[str, Any]], call: PhoneCall) -> tuple[int, int]:
    """How much was heard of the item that was cut: by the journal's own clock, and at the telephone when it was told to stop.

    The first is exact: all up to the last echo, and from then on as much as time has passed. The second is the later moment, so
    it is never less; how much more depends on how busy the machine is.
    """
    (clear,), (truncate,) = named(lines, "ClearPlayback"), named(lines, "TruncateItem")
    line = _Line()
    for each in lines[: lines.index(clear)]:
        line.take(each, truncate["item_id"])
    assert line.item_at is not None
    believed = min(line.heard + int((clear["t"] - line.heard_at) * 8000 + 1e-6), *line.marks.values())
    (cleared,) = [event.detail for event in call.carrier.events if event.what is Happening.CLEARED]
    flushed_ms = int(cleared.partition(" ms")[0])
    return (believed - line.item_at) // 8, (line.sent - line.item_at) // 8 - flushed_ms


def named(lines: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The events or commands of one name."""
    return [line for line in lines if name in (line.get("event"), line.get("command"))]


@asynccontextmanager
async def world(
    calls_folder: Path,
    *,
    settings: CallSettings | None = None,
    script: str | Script = SCRIPT,
    audio_format: AudioFormat = AudioFormat.PCMU,
    make_plan: Callable[[str], CallPlan] | None = None,
) -> AsyncIterator[World]:
    """Start everything; it ends with the block. `make_plan` makes another plan than ours, with the model at that URL."""
    async with writing(WRITE_EVERY_S) as journals, trio.open_nursery() as nursery:
        script = parse_script(script, "the test's script") if isinstance(script, str) else script
        model = ModelServerSettings(port=0, script=script, seed=1)
        model_url = await nursery.start(lambda task_status: serve_model(model, task_status=task_status))
        plan = _plan(model_url, settings or CallSettings(), audio_format) if make_plan is None else make_plan(model_url)
        directory = CallDirectory()
        listeners = await open_listeners("127.0.0.1", 0)
        port = listeners[0].socket.getsockname()[1]

        async def no_pages(scope: Any, receive: Any, send: Any) -> None:
            """Serve nothing: these tests are about calls."""

        async def answer() -> None:
            answering = Answering(plan, directory, calls_folder, journals)
            await serve(listeners, media=answering, app=no_pages, draining=trio.Event())

        nursery.start_soon(answer)
        yield World(f"ws://127.0.0.1:{port}/media/twilio", calls_folder, directory, model_url)
        nursery.cancel_scope.cancel()


def _plan(model_url: str, settings: CallSettings, audio_format: AudioFormat) -> CallPlan:
    agent = Agent(voice="marin")
    session = SessionSettings(
        instructions="",
        model="gpt-realtime-2.1",
        vad_silence_ms=settings.vad_silence_ms,
        input_format=audio_format,
        output_format=audio_format,
    )
    return CallPlan(
        endpoint=ModelEndpoint(url=f"{model_url}?model=gpt-realtime-2.1"),
        session=agent.session(session),
        toolbox=agent.toolbox,
        settings=settings,
    )
