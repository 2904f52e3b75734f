"""What can go wrong beside good calls: bad callers, bad models, a full disk, an event loop that stands still.

Each trouble is a function that prepares itself (opens its connections, and begins calls that are good so far), waits for `begin`,
and then makes trouble until it is cancelled.
"""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import msgspec
import psutil
import trio
from attrs import frozen

from bench.load import FRAME_BYTES, FRAME_S, client_frame, upgraded
from bench.processes import ROOT
from bench.random_caller import GARBAGE, RandomCaller, Story
from bench.soak import NO_FAULTS, set_faults

JOURNAL_LIMIT_BYTES = 4096
IDLE_UPGRADES = 1000
CROWD_LIMIT_S = 10.0
BAD_PEERS = 10
A_SECOND = 25
"""So many of them call."""
CALL_AGAIN_S = 1.0
FIRST_NUMBER = 100_000
"""Call numbers of bad peers begin here."""
_CONTINUATION, _TEXT, _PING = 0, 1, 9
_FIN = 0x80
STALLS: tuple[dict[str, object], ...] = ({"silent_after_s": 0.3}, {"stall_after_ms": 100, "stall_ms": 1000}, {"jitter_ms": 300})
RESETS: tuple[dict[str, object], ...] = ({"reset_after_s": 0.3}, {"close_after_s": 0.3})
LIES: tuple[dict[str, object], ...] = (
    {"stragglers": 3},
    {"missing_done": 1},
    {"refuse_creates": 1},
    {"fail_responses": 1},
    {"late_done": True},
    {"duplicate_every": 3},
    {"reorder_every": 4},
    {"unknown_every": 2},
    {"reject_updates": 1},
)


@frozen
class Place:
    """Where the trouble is made."""

    port: int
    server_process: int
    model_url: str
    speech: bytes
    quiet: bytes
    random: Random
    begin: trio.Event


Trouble = Callable[[Place], Awaitable[None]]
Peer = Callable[[Place, int], Awaitable[None]]


@frozen
class Fault:
    """One kind of trouble. Good calls are looked at from `skip_s` after its begin, for `seconds`."""

    name: str
    trouble: Trouble
    seconds: float | None = None
    """None: as long as all others."""
    skip_s: float = 0.0
    after_s: float = 0.3
    """How long they are looked at when the bad peers have gone."""


# --- callers


async def _open(place: Place, number: int, *, receive_buffer: int | None = None) -> trio.SocketStream:
    """A connection that is upgraded, and has told its start."""
    plain = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await plain.connect(("127.0.0.1", place.port))
    stream = trio.SocketStream(plain)
    await upgraded(stream)
    ids = {"accountSid": "AC", "callSid": f"CA{number:032x}", "streamSid": f"MZ{number:032x}"}
    media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    start = {"event": "start", "streamSid": ids["streamSid"], "start": {**ids, "mediaFormat": media_format}}
    await stream.send_all(client_frame(_TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}'))
    await stream.send_all(client_frame(_TEXT, msgspec.json.encode(start)))
    return stream


async def _many(place: Place, peer: Peer, count: int = BAD_PEERS) -> None:
    """Have so many call, and stay away when they are sent away, as they should be."""

    async def one(number: int) -> None:
        try:
            await peer(place, number)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, FIRST_NUMBER + number)
            if not place.begin.is_set():
                await trio.sleep(1 / A_SECOND)
        await trio.sleep_forever()


def _media(number: int, audio: bytes) -> bytes:
    payload = msgspec.json.encode(audio).decode()  # msgspec writes bytes as base64
    return client_frame(_TEXT, f'{{"event":"media","streamSid":"MZ{number:032x}","media":{{"payload":{payload}}}}}'.encode())


async def _talk_and_never_read(place: Place, number: int) -> None:
    async with await _open(place, number, receive_buffer=2048) as stream:
        await place.begin.wait()
        while True:
            await stream.send_all(_media(number, place.quiet[:FRAME_BYTES]))
            await trio.sleep(FRAME_S)


async def _fall_silent(place: Place, number: int) -> None:
    async with await _open(place, number) as stream:
        while not place.begin.is_set():
            await stream.send_all(_media(number, place.quiet[:FRAME_BYTES]))
            await trio.sleep(FRAME_S)
        await trio.sleep_forever()


async def _talk_garbage(place: Place, number: int) -> None:
    while True:
        async with await _open(place, number) as stream:
            await place.begin.wait()
            try:
                while True:
                    await stream.send_all(client_frame(_TEXT, place.random.choice(GARBAGE)))
                    await trio.sleep(FRAME_S)
            except trio.BrokenResourceError:
                await trio.sleep(CALL_AGAIN_S)


async def _flood(place: Place, number: int, frames: bytes) -> None:
    async with await _open(place, number) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_read_all, stream)
        await place.begin.wait()
        while True:
            await stream.send_all(frames)


async def _read_all(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        pass


async def _flood_with_audio(place: Place, number: int) -> None:
    await _flood(place, number, _media(number, place.quiet[:FRAME_BYTES]) * 50)


async def _flood_with_nothing(place: Place, number: int) -> None:
    """Pings, empty messages, and empty parts of a message."""
    ping, empty = client_frame(_PING, b""), client_frame(_TEXT, b"")
    parts = bytes([_TEXT]) + empty[1:] + (bytes([_CONTINUATION]) + empty[1:]) * 20 + bytes([_FIN | _CONTINUATION]) + empty[1:]
    await _flood(place, number, (ping * 20 + parts) * 20)


async def _upgrade_and_wait(place: Place) -> None:
    """Have a thousand ask for upgrades, say no more, and leave all at once."""
    arguments = [sys.executable, "-m", "bench.crowd", str(place.port), str(IDLE_UPGRADES)]
    crowd = await trio.lowlevel.open_process(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert crowd.stdin is not None
    assert crowd.stdout is not None
    upgraded = b""
    try:
        await place.begin.wait()
        await crowd.stdin.send_all(b"come\n")
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(CROWD_LIMIT_S, shield=True):
            await crowd.stdin.aclose()
            while data := await crowd.stdout.receive_some():
                upgraded += data
            await crowd.wait()
        if crowd.returncode is None:
            crowd.kill()
        if upgraded.strip() != str(IDLE_UPGRADES).encode():
            raise RuntimeError(f"of {IDLE_UPGRADES} upgrades {upgraded.decode().strip() or 'an unknown number'} were answered")


async def _come_and_go(place: Place) -> None:
    """Call four times a second, and leave in every way (bench/random_caller.py)."""
    async with trio.open_nursery() as nursery:
        number = FIRST_NUMBER
        while True:
            number += 1
            caller = RandomCaller(number, Random(place.random.random()), place.speech, place.quiet, Story(), longest_s=4.0)
            nursery.start_soon(caller.call, place.port)
            await trio.sleep(0.25)


# --- models, the disk, the event loop


async def _model_that(place: Place, faults: Sequence[dict[str, object]]) -> None:
    """Spoil the sessions of those who come and go."""
    await place.begin.wait()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_come_and_go, place)
            while True:
                await set_faults(place.model_url, NO_FAULTS | place.random.choice(faults))
                await trio.sleep(0.25)
    finally:
        with trio.move_on_after(5, shield=True):
            await set_faults(place.model_url, NO_FAULTS)


async def _fill_the_disk(place: Place) -> None:
    """Let no file of the server grow beyond some kilobytes: every journal fails, and every recording."""
    process = psutil.Process(place.server_process)
    await place.begin.wait()
    process.rlimit(psutil.RLIMIT_FSIZE, (JOURNAL_LIMIT_BYTES, resource.RLIM_INFINITY))
    try:
        await _come_and_go(place)
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def _block_the_loop(place: Place) -> None:
    """Have the event loop stand still for 0.3 s (bench/watched_server.py)."""
    await place.begin.wait()
    psutil.Process(place.server_process).send_signal(signal.SIGUSR2)
    await trio.sleep_forever()


FAULTS = (
    Fault(f"{BAD_PEERS} callers who do not read", lambda place: _many(place, _talk_and_never_read)),
    Fault(f"{BAD_PEERS} callers who fall silent", lambda place: _many(place, _fall_silent)),
    Fault(f"{BAD_PEERS} callers who talk garbage", lambda place: _many(place, _talk_garbage)),
    Fault("2 callers who flood with audio", lambda place: _many(place, _flood_with_audio, 2)),
    Fault("2 who flood with Pings and empty messages", lambda place: _many(place, _flood_with_nothing, 2)),
    Fault("callers who come and go in every way", _come_and_go),
    Fault("models that stall", lambda place: _model_that(place, STALLS)),
    Fault("models that are reset, or close", lambda place: _model_that(place, RESETS)),
    Fault("models that lie", lambda place: _model_that(place, LIES)),
    Fault("1,000 upgrades at once without a start", _upgrade_and_wait, seconds=4.0, after_s=2.5),
    Fault("a full disk, for journal and recording", _fill_the_disk),
    Fault("after the loop stood still for 0.3 s", _block_the_loop, skip_s=0.6),
)
