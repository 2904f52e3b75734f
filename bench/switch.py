"""What a hand-off adds to an ordinary tool call: a second session, another voice, the conversation told anew.

    python -m bench.switch [--switches 20]

One caller asks by keys, in turn, for an ordinary tool and for another agent with another voice (two agents hand the call to and
fro). Measured at the caller's ear: from the key to the first sound of what answers, the agent having been silent before. The gap
that a hand-off adds is the difference of the medians. The embedded model answers at the real one's pace, with prepared speech.
"""

from __future__ import annotations

import base64
import statistics
import tempfile
from pathlib import Path

import click
import msgspec
import trio
from attrs import define, evolve, field, frozen
from rich.console import Console
from rich.table import Table

from bench.load import FRAME_BYTES, FRAME_S, client_frame, server_frames, upgraded
from bench.processes import free_port, pin, started, wait_until_listening
from bench.results_folder import write_result

SERVER_PROCESSOR, CALLER_PROCESSOR = 1, 0
TARGET_MS = 300.0
ANSWER_LIMIT_S = 15.0
PAUSE_S = 0.3
QUIET = b"\xfa" * FRAME_BYTES
_TEXT = 1
SCRIPT = r"""
name = "two agents who hand a call to and fro"

[[rule]]
when = { instructions = '^\s*say\b[^:"]*:\s*"?(?P<words>.+?)"?\s*$' }
say = "{words}"

[[rule]]
when = { note = 'handed this call over' }
say = "I have taken over."

[[rule]]
when = { function = "look" }
say = "I have looked it up."

[[rule]]
when = { text = '(^|: )1' }
parts = [{ call = "look" }]

[[rule]]
when = { text = '(^|: )2' }
parts = [{ call = "hand_over" }]

[[rule]]
say = "I did not understand that."
"""
AGENTS = '''
"""Two agents who hand a call to and fro."""

from trio_voice import Agent, CallContext, tool


@tool
async def look() -> str:
    """Look something up."""
    return "looked up"


@tool
async def hand_over(call: CallContext) -> str:
    """Hand the call over to the other agent."""
    call.data["second"] = not call.data.get("second", False)
    call.hand_off(second if call.data["second"] else agent)
    return "handed over"


tools = [look, hand_over]
agent = Agent(name="first", instructions="You are the first.", voice="marin", greeting="Say: Good morning.", tools=tools)
second = Agent(name="second", instructions="You are the second.", voice="cedar", tools=tools)
'''


@frozen
class Result:
    """One run; medians over all answers."""

    switches: int
    tool_ms: float
    hand_off_ms: float
    added_ms: float
    unanswered: int
    applied: int
    """Hand-offs that the call's journal tells of."""


@define(eq=False)
class Caller:
    """Sends quiet frames and keys, and knows when it hears something."""

    stream: trio.SocketStream
    _buffer: bytearray = field(factory=bytearray)
    _playing_until: float = field(default=0.0, init=False)
    _sounds: trio.Event = field(factory=trio.Event, init=False)
    _sending: trio.Lock = field(factory=trio.Lock, init=False)

    async def say(self, message: object) -> None:
        """Send a message of the carrier's."""
        async with self._sending:
            await self.stream.send_all(client_frame(_TEXT, msgspec.json.encode(message)))

    async def be_quiet(self) -> None:
        """A frame of silence every 20 ms."""
        media = {"event": "media", "streamSid": "MZ1", "media": {"payload": base64.b64encode(QUIET).decode()}}
        began_at, count = trio.current_time(), 0
        while True:
            await self.say(media)
            count += 1
            await trio.sleep_until(began_at + count * FRAME_S)

    async def listen(self) -> None:
        """Play what comes, and echo marks when they have been played."""
        async with trio.open_nursery() as nursery:
            while True:
                for opcode, payload in server_frames(self._buffer):
                    if opcode == _TEXT:
                        self._hear(msgspec.json.decode(payload), nursery)
                data = await self.stream.receive_some()
                if not data:
                    raise ConnectionError("the server ended the call")
                self._buffer += data

    def _hear(self, message: dict[str, dict[str, str]], nursery: trio.Nursery) -> None:
        now = trio.current_time()
        if "media" in message:
            self._playing_until = max(self._playing_until, now) + len(base64.b64decode(message["media"]["payload"])) / 8000
            self._sounds.set()
        elif "mark" in message:
            nursery.start_soon(self._echo, message["mark"], self._playing_until)

    async def _echo(self, mark: dict[str, str], at: float) -> None:
        await trio.sleep_until(at)
        await self.say({"event": "mark", "streamSid": "MZ1", "mark": mark})

    async def ask(self, digit: str) -> float | None:
        """Press a key; milliseconds to the first sound of the answer, or None. Returns when it has been played."""
        self._sounds = trio.Event()
        began_at = trio.current_time()
        for key in (digit, "#"):
            await self.say({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": key}})
        return await self._answer(began_at)

    async def _answer(self, began_at: float) -> float | None:
        with trio.move_on_after(ANSWER_LIMIT_S):
            await self._sounds.wait()
            took_ms = (trio.current_time() - began_at) * 1000
            while trio.current_time() < self._playing_until + PAUSE_S:  # noqa: ASYNC110 - more may come while it plays
                await trio.sleep_until(self._playing_until + PAUSE_S)
            return took_ms
        return None

    async def hear_the_greeting(self) -> None:
        """Wait until the greeting has been played."""
        await self._answer(trio.current_time())


async def call(port: int, switches: int) -> Result:
    """One call with so many hand-offs, and as many ordinary tool calls between them."""
    taken: dict[str, list[float | None]] = {"1": [], "2": []}
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        caller = Caller(stream, bytearray(await upgraded(stream)))
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        ids = {"accountSid": "AC", "callSid": "CA1", "streamSid": "MZ1"}
        await caller.say({"event": "start", "streamSid": "MZ1", "start": {**ids, "mediaFormat": media_format}})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.be_quiet)
            nursery.start_soon(caller.listen)
            await caller.hear_the_greeting()
            for _ in range(switches):
                for digit, times in taken.items():
                    times.append(await caller.ask(digit))
            nursery.cancel_scope.cancel()
    tool_ms, hand_off_ms = (statistics.median([ms for ms in times if ms is not None]) for times in taken.values())
    unanswered = sum(ms is None for times in taken.values() for ms in times)
    return Result(switches, tool_ms, hand_off_ms, hand_off_ms - tool_ms, unanswered, applied=0)


async def measure(switches: int) -> Result:
    """Start model and server, and call."""
    with tempfile.TemporaryDirectory(prefix="trio-voice-bench-") as name:
        folder, model_port, port = Path(name), free_port(), free_port()
        (folder / "script.toml").write_text(SCRIPT, encoding="utf-8")
        (folder / "agents.py").write_text(AGENTS, encoding="utf-8")
        model = [
            "-m",
            "trio_voice",
            "model",
            "--cheap",
            "--quiet",
            "--port",
            str(model_port),
            "--script",
            str(folder / "script.toml"),
        ]
        server = ["-m", "trio_voice", "serve", str(folder / "agents.py"), "--port", str(port), "--calls", str(folder / "calls")]
        server += ["--model", f"ws://127.0.0.1:{model_port}/v1", "--log-level", "warning"]
        async with started(model, CALLER_PROCESSOR, folder / "model.log"):
            await wait_until_listening(model_port)
            async with started(server, SERVER_PROCESSOR, folder / "server.log"):
                await wait_until_listening(port)
                result = await call(port, switches)
        (journal,) = (folder / "calls").glob("*/call.jsonl")
        return evolve(result, applied=journal.read_text(encoding="utf-8").count('"failure":null}'))


@click.command()
@click.option("--switches", type=int, default=20, show_default=True, help="How many hand-offs.")
def main(switches: int) -> None:
    """Measure, print a table, write bench/results/switch.json."""
    console = Console()
    console.width = max(console.width, 100)
    pin(CALLER_PROCESSOR)
    result = trio.run(measure, switches)
    table = Table("what", "median", "target", title=f"{result.switches} hand-offs to another voice, and as many tool calls")
    table.add_row("key to the answer of a tool", f"{result.tool_ms:.0f} ms", "")
    table.add_row("key to the new agent's first sound", f"{result.hand_off_ms:.0f} ms", "")
    table.add_row("a hand-off adds", f"{result.added_ms:.0f} ms", f"{TARGET_MS:.0f} ms")
    table.add_row("hand-offs in the journal", str(result.applied), str(result.switches))
    table.add_row("not answered", str(result.unanswered), "0")
    console.print(table)
    if result.unanswered or result.applied < result.switches:
        raise click.ClickException("not every hand-off was made and answered: the figures mean nothing")
    write_result("switch", result)


if __name__ == "__main__":
    main()
