"""What a journal costs on this machine, in time of the processor: `python -m tests.tools.journal_speed`."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

from tests.storage.tape import HEADER, long_call
from trio_voice.core.commands import AppendAudio, PlayAudio, SendMark
from trio_voice.core.events import CallerAudio, ModelAudio, PlaybackMarked, ResponseDone, ResponseStatus
from trio_voice.storage.journal import JournalWriter
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import replay

MINUTES = 10
FRAME = bytes(range(160))
DELTA = FRAME * 10
RESPONSE, ITEM = "resp_vg8EEaBLbh6ToxJ9PXAau", "item_ONvCQCkTgf9oxegEww1GC"


def measure(what: str, lines: Callable[[float], list[str]]) -> None:
    """Print the time and the size of some lines."""
    moment = iter(number / 50 for number in range(10**9))
    number = 20_000
    best_s = min(timeit.repeat(lambda: lines(next(moment)), timer=time.process_time, number=number, repeat=5)) / number
    print(f"{what:<50} {best_s * 1e6:6.2f} us {sum(len(line) + 1 for line in lines(123.456789)):5} bytes")


def main() -> None:
    """Print the table."""
    writer = JournalWriter()
    writer.header(HEADER)
    caller, append = CallerAudio(FRAME, -31.2), AppendAudio(1, FRAME)
    model, play = ModelAudio(1, RESPONSE, ITEM, DELTA, -20.1), PlayAudio(RESPONSE, ITEM, DELTA)
    done = ResponseDone(1, RESPONSE, ResponseStatus.COMPLETED)
    measure("a caller's frame: CallerAudio, AppendAudio", lambda t: [writer.event(t, caller), writer.command(t, append)])
    measure("a model's delta: ModelAudio, PlayAudio", lambda t: [writer.event(t, model), writer.command(t, play)])
    measure("a mark: SendMark", lambda t: [writer.command(t, SendMark("1.17"))])
    measure("a mark's echo: PlaybackMarked", lambda t: [writer.event(t, PlaybackMarked("1.17"))])
    measure("the end of a response: ResponseDone", lambda t: [writer.event(t, done)])
    lines = long_call(MINUTES).lines
    took_s, verdict = min(replay_once(lines) for _ in range(3))
    print(f"replay of {MINUTES} minutes, {len(lines)} lines: {took_s:.2f} s, {verdict}")


def replay_once(lines: list[str]) -> tuple[float, str]:
    """Replay; return how long it took, and the verdict."""
    began = time.process_time()
    replayed = replay(JournalReader(iter(lines)))
    return time.process_time() - began, replayed.verdict.value


if __name__ == "__main__":
    main()
