"""The voice with its real process: it speaks, is replaced when it is killed, and is never left behind."""

from __future__ import annotations

import os
import signal
import sys
from subprocess import PIPE

import pytest
import trio

from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.audio.g711 import pcm16_to_alaw, pcm16_to_ulaw
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.realtime_server.audio_formats import PCM, PCMA, PCMU, AudioFormat
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings
from trio_voice.realtime_server.voice_process import WorkerLostError, voice_process

SENTENCE = "Good morning, this is the reception."


async def said(pool: VoicePool, text: str, audio_format: AudioFormat = PCM) -> bytes:
    with trio.fail_after(20):
        async with pool.speech(text, voice="marin", audio_format=audio_format) as pieces:
            return b"".join([piece async for piece in pieces])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def needs_an_engine(pool: VoicePool) -> None:
    if not pool.worker_pids:
        pytest.skip("no voice is installed: pip install 'trio-voice[voice]'")


async def test_it_speaks_is_replaced_and_ends_with_its_block() -> None:
    async with VoicePool() as pool:
        needs_an_engine(pool)
        assert active_level_dbfs(await said(pool, SENTENCE), 24000) == pytest.approx(-20.0, abs=3.0)
        (killed,) = pool.worker_pids
        os.kill(killed, signal.SIGKILL)
        assert len(await said(pool, "And I am still here.")) > 24000
        (replaced,) = pool.worker_pids
        assert replaced != killed
        assert not is_running(killed)
    assert not is_running(replaced)


async def test_its_process_hands_over_each_format_as_it_would_be_made_of_the_voice_here() -> None:
    spoken: dict[AudioFormat, bytes] = {}
    for audio_format in (PCM, PCMU, PCMA):  # each from a new process: no engine says a sentence in the same samples again
        async with VoicePool(VoiceSettings(engine="flite")) as pool:
            needs_an_engine(pool)
            spoken[audio_format] = await said(pool, SENTENCE, audio_format)
    at_8khz = Downsampler24To8().convert(spoken[PCM])
    assert spoken[PCMU] == pcm16_to_ulaw(at_8khz)
    assert spoken[PCMA] == pcm16_to_alaw(at_8khz)


async def test_a_signal_to_everybody_is_for_the_server_and_the_voice_says_its_goodbyes() -> None:
    async with VoicePool() as pool:
        needs_an_engine(pool)
        (worker,) = pool.worker_pids
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
        assert len(await said(pool, SENTENCE)) > 24000
        assert pool.worker_pids == [worker]


async def test_how_a_worker_ended_is_told() -> None:
    async def crash() -> None:
        async with voice_process("auto") as worker:
            os.kill(worker.pid, signal.SIGSEGV)
            await worker.speak("Hello.", "marin", 1.0, "en-us", PCM, lambda audio: True)

    with pytest.raises(WorkerLostError, match="has ended, status -11"):
        await crash()


async def test_ctrl_c_is_for_the_server_alone() -> None:
    async with VoicePool() as pool:
        needs_an_engine(pool)
        (worker,) = pool.worker_pids
        assert os.getpgid(worker) != os.getpgid(0)


async def test_a_worker_whose_server_is_killed_ends_by_itself() -> None:
    program = """
import trio
from trio_voice.realtime_server.voice import VoicePool
async def main():
    async with VoicePool() as pool:
        print(*pool.worker_pids, flush=True)
        await trio.sleep(60)
trio.run(main)
"""
    server = await trio.lowlevel.open_process([sys.executable, "-c", program], stdout=PIPE)
    try:
        assert server.stdout is not None
        with trio.fail_after(20):
            line = bytes(await server.stdout.receive_some()).decode().strip()
            if not line:
                pytest.skip("no voice is installed: pip install 'trio-voice[voice]'")
            server.kill()
            await server.wait()
            while is_running(int(line)):  # noqa: ASYNC110 - it is nobody's child any more
                await trio.sleep(0.01)
    finally:
        server.kill()
        with trio.CancelScope(shield=True):
            await server.wait()


@pytest.mark.parametrize("engine", ["flite", "espeak-ng"])
async def test_a_sentence_that_nobody_hears_out_costs_the_next_speaker_little(engine: str) -> None:
    settings = VoiceSettings(engine="flite" if engine == "flite" else "espeak-ng", cache_bytes=0)
    async with VoicePool(settings) as pool:
        needs_an_engine(pool)
        whole = len(await said(pool, SENTENCE))
        for number in range(10):
            async with pool.speech(f"{number}. {SENTENCE} " * 20, voice="ash") as pieces:
                await anext(pieces)
            assert len(await said(pool, SENTENCE)) == pytest.approx(whole, rel=0.05)
