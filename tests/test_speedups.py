"""What is compiled against its reference in Python: the same results for the same things, the errors too."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trio_voice.audio import levels
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.server import frames, wire
from trio_voice.storage import journal

compiled = pytest.importorskip("trio_voice._speedups", reason="it was not compiled: there is no C compiler, or no Python.h")

KEYS = st.binary(min_size=4, max_size=4) | st.just(b"")
SIZES = (0, 1, 125, 126, 127, 160, 65_535, 65_536)
"""Where a frame's head changes, and a frame of audio."""


def outcome_of(function: Callable[..., object], *arguments: object) -> object:
    """What a function returns, or what it raises."""
    try:
        return function(*arguments)
    except (OSError, TypeError, ValueError) as error:
        return type(error), error.errno if isinstance(error, OSError) else None


@contextmanager
def sockets(*sent: bytes, room_bytes: int | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection, neither of which waits; `sent` is on its way to the first."""
    near, far = socket.socketpair()
    with near, far:
        for end in (near, far):
            end.setblocking(False)
            if room_bytes is not None:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room_bytes)
        for data in sent:
            far.sendall(data)
        yield near, far


def test_what_is_compiled_is_used() -> None:
    assert (wire.read_text, wire.write_text) == (compiled.read_text, compiled.write_text)
    assert (frames.text_frame, journal.frame_lines) == (compiled.text_frame, compiled.frame_lines)
    assert (levels.energy_above, levels.ulaw_level_dbfs) == (compiled.energy_above, compiled.ulaw_level_dbfs)


IN_PYTHON = """
import sys
sys.modules["trio_voice._speedups"] = None  # as if there were none
from trio_voice.audio import levels
from trio_voice.server import frames, wire
from trio_voice.storage import journal
assert (wire.read_text, wire.write_text) == (wire.python_read_text, wire.python_write_text)
assert frames.text_frame is frames.python_text_frame
assert (levels.energy_above, levels.ulaw_level_dbfs) == (levels.python_energy_above, levels.python_ulaw_level_dbfs)
assert levels.ulaw_frame_level_dbfs(bytes(160)) == levels.python_ulaw_level_dbfs(levels._SLOW_WAVES, bytes(160))
assert journal.frame_lines is journal.python_frame_lines
"""


def test_where_nothing_is_compiled_python_does_it() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", IN_PYTHON], check=True, timeout=60)


# --- WebSocket frames

TEXTS = (
    st.text(max_size=200) | st.sampled_from(SIZES).map(lambda size: "x" * size) | st.sampled_from(SIZES).map(lambda n: "ü" * n)
)


@given(TEXTS, KEYS)
@example("half a pair: \ud800", b"")
@example("x" * 65_536, b"\x00\xff\x01\x80")
@settings(max_examples=200)
def test_a_text_in_a_frame(text: str, key: bytes) -> None:
    assert outcome_of(compiled.text_frame, text, key) == outcome_of(frames.python_text_frame, text, key)


@pytest.mark.parametrize("arguments", [(b"bytes", b""), ("text", "key!"), ("text", b"key"), ("text", b"", b""), ()])
def test_what_is_no_text_with_a_key_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        compiled.text_frame(*arguments)
    with sockets() as (near, far):
        with pytest.raises((TypeError, ValueError)):
            compiled.write_text(near.fileno(), *arguments)
        with pytest.raises(BlockingIOError):
            far.recv(1)


@st.composite
def sent_frames(draw: st.DrawFn) -> bytes:
    """What a peer may send: a whole text, most of the time, or less, or more than that, or something else."""
    text = draw(st.sampled_from(SIZES[:-2])) * draw(st.sampled_from(["x", "\x7f", "ü"]))
    frame = bytearray(frames.python_text_frame(text, draw(KEYS)))
    match draw(st.integers(0, 3)):
        case 0:
            frame[draw(st.integers(0, min(9, len(frame) - 1)))] ^= draw(st.integers(1, 255))
        case 1:
            frame += draw(st.binary(max_size=3))
        case 2:
            del frame[draw(st.integers(1, len(frame))) :]
        case _:
            pass
    return bytes(frame)


@given(sent_frames() | st.binary(min_size=1, max_size=300), st.booleans(), st.sampled_from([0, 125, 126, 160, 1 << 24]))
@settings(max_examples=300)
def test_what_is_read(data: bytes, masked: bool, limit_bytes: int) -> None:
    with sockets(data) as (near, _), sockets(data) as (other, _):
        expected = wire.python_read_text(other.fileno(), masked, limit_bytes)
        assert compiled.read_text(near.fileno(), masked, limit_bytes) == expected
        text = frames.whole_text(data, masked, limit_bytes)
        assert expected == (data if text is None else text)


@pytest.mark.parametrize("read_text", [compiled.read_text, wire.python_read_text])
def test_nothing_to_be_read_the_end_and_a_closed_socket(read_text: Callable[..., object]) -> None:
    with sockets() as (near, far):
        assert read_text(near.fileno(), True, 1000) is None
        far.sendall(b"x" * (wire.READ_BYTES + 1))
        assert [read_text(near.fileno(), True, 1000), read_text(near.fileno(), True, 1000)] == [b"x" * wire.READ_BYTES, b"x"]
        far.close()
        assert read_text(near.fileno(), True, 1000) == b""
        number = near.fileno()
        near.close()
        assert outcome_of(read_text, number, True, 1000) == (OSError, errno.EBADF)


@pytest.mark.parametrize("arguments", [("0", True, 1), (0, True), (0, True, None), (1 << 40, True, 1)])
def test_what_cannot_be_read_from_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        compiled.read_text(*arguments)


class Raises:
    """It is asked whether it is true, which nobody may do who has an error to raise."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError


def test_after_what_is_wrong_with_one_argument_nothing_is_asked_of_the_next() -> None:
    arguments: tuple[Any, ...] = (1 << 80, Raises(), 1)
    with pytest.raises(OverflowError):
        compiled.read_text(*arguments)
    with pytest.raises(ZeroDivisionError):
        compiled.read_text(0, *arguments[1:])


@pytest.mark.parametrize("write_text", [compiled.write_text, wire.python_write_text])
@pytest.mark.parametrize("size", [3, 5000])  # what fits into a buffer on the stack, and what does not
@pytest.mark.parametrize("key", [b"", b"\x01\x02\x03\x04"])
def test_all_of_it_leaves_or_its_beginning_or_nothing(write_text: Callable[..., bytes | None], size: int, key: bytes) -> None:
    text = "xyz" * size
    whole = frames.python_text_frame(text, key)
    with sockets(room_bytes=4096) as (near, far):
        written, begun = b"", 0
        while (rest := write_text(near.fileno(), text, key)) is not None:
            written += whole[: len(whole) - len(rest)]
            begun += 1
            assert whole.endswith(rest)
            if rest:
                break
        assert begun
        arrived = b""
        while len(arrived) < len(written):
            arrived += far.recv(1 << 20)
        assert arrived == written
        far.close()
        assert outcome_of(write_text, near.fileno(), text, key) == (BrokenPipeError, errno.EPIPE)


# --- levels and lines

SAMPLES = 160


@given(st.binary(min_size=2 * SAMPLES, max_size=2 * SAMPLES))
@example(bytes(2 * SAMPLES))
@example(b"\x00\x80" * SAMPLES)
@example(b"\xff\x7f\x00\x80" * (SAMPLES // 2))
@settings(max_examples=200)
def test_the_energy_of_a_frame_is_the_same_to_the_last_bit(pcm16: bytes) -> None:
    assert compiled.energy_above(pcm16, levels._SLOW_WAVES) == levels.python_energy_above(pcm16, levels._SLOW_WAVES)


@pytest.mark.parametrize(
    "arguments",
    [(b"", ()), (bytes(321), ()), (bytes(320), [(b"", 1.0)]), (bytes(320), ((b"", 1.0),)), (bytes(320), ((bytes(320), "1"),))],
)
def test_what_is_no_frame_or_no_wave_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        compiled.energy_above(*arguments)


ULAW = st.binary(min_size=SAMPLES, max_size=SAMPLES) | st.builds(
    bytes, st.lists(st.sampled_from((0x7E, 0x7F, 0xFE, 0xFF)), min_size=SAMPLES, max_size=SAMPLES)
)
"""Of any loudness, and hardly any."""


@given(ULAW)
@example(bytes(range(SAMPLES)))
@example(bytes(range(256 - SAMPLES, 256)))
@example(b"\xff" * SAMPLES)
@settings(max_examples=300)
def test_the_level_of_a_frame_of_mu_law_is_the_same_to_the_last_bit(ulaw: bytes) -> None:
    level_dbfs = compiled.ulaw_level_dbfs(levels._SLOW_WAVES, ulaw)
    assert repr(level_dbfs) == repr(levels.python_ulaw_level_dbfs(levels._SLOW_WAVES, ulaw))
    assert level_dbfs == round(levels.band_level_dbfs(ulaw_to_pcm16(ulaw)), 1) == levels.ulaw_frame_level_dbfs(ulaw)


@pytest.mark.parametrize("arguments", [((), b""), ((), "0" * SAMPLES), ([], bytes(SAMPLES)), (((b"", 1.0),), bytes(SAMPLES)), ()])
def test_what_is_no_frame_of_mu_law_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        compiled.ulaw_level_dbfs(*arguments)


@given(
    st.floats(0, 1e6).map(lambda now: round(now, 6)) | st.floats(),
    st.binary(max_size=400),
    st.none() | st.floats(-100, 0).map(lambda level: round(level, 1)) | st.floats(),
    st.integers(0, 2**64 - 1),
)
@example(1e22, b"", -100.0, 1)
@example(5e-324, b"\xff" * 160, -0.0, 0)
@example(0.0001, b"", 0.0, 0)
@example(0.0000995, b"", -0.1, 0)
@example(899_999_999.999999, b"", 9e13, 0)
@example(float("inf"), b"", float("nan"), 0)
@settings(max_examples=500)
def test_the_lines_of_a_frame(now: float, audio: bytes, level_dbfs: float | None, session: int) -> None:
    lines = compiled.frame_lines(now, audio, level_dbfs, session)
    assert lines == journal.python_frame_lines(now, audio, level_dbfs, session)
    if math.isfinite(now) and math.isfinite(level_dbfs or 0.0):
        event, command = map(json.loads, lines.split("\n"))
        assert (event["t"], event["level_dbfs"], command["session"]) == (now, level_dbfs, session)


@pytest.mark.parametrize(
    "arguments",
    [("0", b"", None, 1), (0.0, "", None, 1), (0.0, b"", "loud", 1), (0.0, b"", None, 1 << 70), (0.0, b"", None, -1), ()],
)
def test_what_is_no_frame_has_no_lines(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        compiled.frame_lines(*arguments)


# --- the poller's timer


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
def test_a_timer_is_set_alike() -> None:
    from trio_voice.server import timer_file

    assert timer_file.set_timer is compiled.set_timer
    timer = timer_file.TimerFile()
    try:
        for set_timer in (compiled.set_timer, timer_file.python_set_timer):
            set_timer(timer.fileno(), 86_400_000_000_000)
            assert not select.select([timer], [], [], 0)[0]
            set_timer(timer.fileno(), 1)
            assert select.select([timer], [], [], 20)[0]
            with pytest.raises(OSError, match="Invalid argument"):
                set_timer(timer.fileno(), -1)
    finally:
        timer.close()
    for set_timer in (compiled.set_timer, timer_file.python_set_timer):
        assert outcome_of(set_timer, -1, 1) == (OSError, errno.EBADF)
    for arguments in (("1", 1), (1,), (1, 1 << 70)):
        with pytest.raises((TypeError, OverflowError)):
            compiled.set_timer(*arguments)


# --- installing

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists(),
    reason="there is no C compiler, or no Python.h",
)
ROOT = Path(wire.__file__).parent.parent.parent


def compile_with(*flags: str, into: Path) -> None:
    include = sysconfig.get_paths()["include"]
    source = ROOT / "trio_voice" / "_speedups.c"
    command = ["cc", "-D_GNU_SOURCE", "-fPIC", "-shared", f"-I{include}", *flags, str(source), "-o", os.fspath(into)]
    subprocess.run(command, check=True, timeout=120)


@needs_compiler
def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    compile_with("-Wall", "-Wextra", "-Werror", "-O2", "-std=c11", into=tmp_path / "out.so")


IN_ONE_INSTRUCTION = """
import random, sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from trio_voice.audio import levels
loader = ExtensionFileLoader("_speedups", sys.argv[1])
compiled = module_from_spec(spec_from_file_location("_speedups", sys.argv[1], loader=loader))
loader.exec_module(compiled)
for _ in range(500):
    pcm16 = random.randbytes(320)
    assert compiled.energy_above(pcm16, levels._SLOW_WAVES) == levels.python_energy_above(pcm16, levels._SLOW_WAVES)
"""


@needs_compiler
def test_a_processor_that_multiplies_and_adds_in_one_instruction_has_the_same_energy(tmp_path: Path) -> None:
    flags = ["-O3"]
    if platform.machine() == "x86_64":  # others need not be asked to use it
        cpuinfo = Path("/proc/cpuinfo")
        if not cpuinfo.exists() or " fma " not in cpuinfo.read_text():
            pytest.skip("this processor cannot")
        flags.append("-mfma")
    (extension,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    compile_with(*flags, *extension["extra-compile-args"], into=tmp_path / "_speedups.so")
    program = [sys.executable, "-W", "error", "-c", IN_ONE_INSTRUCTION, os.fspath(tmp_path / "_speedups.so")]
    subprocess.run(program, check=True, timeout=60)
