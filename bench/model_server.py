"""What the embedded Realtime server costs: sessions that send a frame every 20 ms and hold a conversation.

    python -m bench.model_server [--sessions 200] [--seconds 20] [--full]

The server is a process of its own (`python -m trio_voice model --cheap`; with `--full` without `--cheap`). The callers are plain
sockets that send prepared frames, so that the load costs little. It prints a table and writes bench/results/model_server.json.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time

import click
import trio
from attrs import asdict, define
from rich.console import Console
from rich.table import Table

from bench.processes import Measured, free_port, started, wait_until_listening
from bench.results_folder import RESULTS, write_result
from trio_voice.audio import g711
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.realtime_server.frames import mask
from trio_voice.realtime_server.voice_tones import spoken_in_tones

FRAME_S = 0.02
TARGET_CORES = 0.5
UPDATE: dict[str, object] = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
    },
}


@define
class Result:
    """What one run showed."""

    sessions: int
    seconds: float
    cheap: bool
    frames: int
    frames_late: int
    responses_done: int
    cores: float
    us_per_frame: float
    resident_mb: float


def client_frame(event: dict[str, object]) -> bytes:
    """A masked text frame of 126 to 65535 bytes."""
    payload = json.dumps(event, separators=(",", ":")).encode()
    key = os.urandom(4)
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + key + mask(payload, key)


def caller_frames() -> list[bytes]:
    """A sentence between silences, as appends, ready to be sent again and again."""
    sentence = b"".join(spoken_in_tones("I would like to make an appointment, please.", 120, 1.0))
    audio = g711.ulaw_silence(3000) + g711.pcm16_to_ulaw(Downsampler24To8().convert(sentence)) + g711.ulaw_silence(5000)
    return [
        client_frame({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio[at : at + 160]).decode()})
        for at in range(0, len(audio) - 160, 160)
    ]


def connect(host: str, port: int) -> socket.socket:
    """Open a session, and have it speak mu-law."""
    caller = socket.create_connection((host, port), timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    caller.sendall(
        f"GET /v1/realtime?model=gpt-realtime-2.1 HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += caller.recv(65536)
    caller.sendall(client_frame(UPDATE))
    caller.setblocking(False)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return caller


def drain(caller: socket.socket) -> int:
    """Read what has come; return how many responses it ended (one that is cut in two by a read is not seen)."""
    done = 0
    while True:
        try:
            data = caller.recv(1 << 20)
        except BlockingIOError:
            return done
        if not data:
            raise ConnectionError("the server closed a session")
        done += data.count(b'{"type":"response.done"')


def talk(server: Measured, callers: list[socket.socket], seconds: float, *, cheap: bool) -> Result:
    """Send every caller's frame every 20 ms, each caller at another place of the conversation."""
    frames = caller_frames()
    began, cpu_before, rounds, late, done = time.monotonic(), server.cpu_s(), 0, 0, 0
    while (now := time.monotonic()) < began + seconds:
        due = began + rounds * FRAME_S
        if now < due:
            time.sleep(due - now)  # noqa: TID251 - the load is no Trio program
        elif now > due + FRAME_S:
            late += len(callers)
        for index, caller in enumerate(callers):
            caller.send(frames[(rounds + index * 7) % len(frames)])
            done += drain(caller)
        rounds += 1
    took_s, cpu_s = time.monotonic() - began, server.cpu_s() - cpu_before
    sent = rounds * len(callers)
    return Result(
        sessions=len(callers),
        seconds=round(took_s, 1),
        cheap=cheap,
        frames=sent,
        frames_late=late,
        responses_done=done,
        cores=round(cpu_s / took_s, 3),
        us_per_frame=round(cpu_s / sent * 1e6, 1),
        resident_mb=round(server.resident_bytes() / 1e6, 1),
    )


async def run(sessions: int, seconds: float, *, cheap: bool) -> Result:
    """Start the server, connect, talk, end."""
    port = free_port()
    command = ["-m", "trio_voice", "model", "--port", str(port), "--quiet", *(["--cheap"] if cheap else [])]
    RESULTS.mkdir(exist_ok=True)
    async with started(command, 0, RESULTS / "model_server.log") as server:
        await wait_until_listening(port)
        callers = [connect("127.0.0.1", port) for _ in range(sessions)]
        await trio.sleep(1.0)
        try:
            return talk(server, callers, seconds, cheap=cheap)
        finally:
            for caller in callers:
                caller.close()


def table(result: Result) -> Table:
    """The result, to be read."""
    shown = Table(title="The embedded Realtime server", show_header=False)
    for name, value in asdict(result).items():
        shown.add_row(name.replace("_", " "), str(value))
    if result.cheap:
        verdict = "held" if result.cores < TARGET_CORES * result.sessions / 200 else "NOT held"
        shown.add_row("target: 200 sessions under half a core", verdict)
    return shown


@click.command()
@click.option("--sessions", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=20.0, show_default=True)
@click.option("--full", is_flag=True, help="With the voice and the telephone's detector.")
def main(sessions: int, seconds: float, full: bool) -> None:
    """Measure, print, write."""
    result = trio.run(lambda: run(sessions, seconds, cheap=not full))
    Console().print(table(result))
    write_result("model_server", result)


if __name__ == "__main__":
    main()
