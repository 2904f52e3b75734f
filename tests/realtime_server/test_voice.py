"""The pool: taking turns, sharing, giving up, and going on when workers die; in virtual time, with scripted workers or tones."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest
import trio
import trio.testing

from tests.realtime_server.scripted_worker import Behaviour, Workers, sound
from tests.test_public_names import imported_with
from trio_voice.errors import LocalProtocolError
from trio_voice.realtime_server.audio_formats import PCM, PCMA, PCMU, AudioFormat
from trio_voice.realtime_server.voice import VOICE_NAMES, VoiceFailedError, VoicePool, VoiceSettings
from trio_voice.realtime_server.voice_names import voice_profile
from trio_voice.realtime_server.voice_protocol import Speak, Stop
from trio_voice.realtime_server.voice_tones import spoken_in_tones, tones_in_format

TONES = VoiceSettings(engine="tones")


async def said(pool: VoicePool, text: str, voice: str = "marin", speed: float = 1.0, audio_format: AudioFormat = PCM) -> bytes:
    async with pool.speech(text, voice=voice, speed=speed, audio_format=audio_format) as pieces:
        return b"".join([piece async for piece in pieces])


def pool_of(*behaviours: Behaviour, workers: int = 1, cache_bytes: int = 1 << 20) -> tuple[VoicePool, Workers]:
    scripted = Workers(list(behaviours) or [Behaviour()])
    return VoicePool(VoiceSettings(workers=workers, cache_bytes=cache_bytes), open_worker=scripted.open), scripted


async def test_tones_speak_without_any_process() -> None:
    async with VoicePool(TONES) as pool:
        audio = await said(pool, "Hello. How are you?", "ash", 0.5)
        assert audio == b"".join([*spoken_in_tones("Hello.", 110.0, 0.5), *spoken_in_tones("How are you?", 110.0, 0.5)])
        assert pool.engine == "tones"
        assert pool.worker_pids == []
        assert pool.describe() == "tones stand for speech, as the settings ask"


async def test_tones_speak_in_the_format_that_is_asked_for() -> None:
    async with VoicePool(TONES) as pool:
        assert await said(pool, "Hello.", "ash", 0.5, PCMU) == b"".join(tones_in_format("Hello.", 110.0, 0.5, PCMU))


def test_what_wants_numpy_comes_with_tones_and_not_with_a_worker() -> None:
    program = """
import trio
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings
from tests.realtime_server.scripted_worker import Behaviour, Workers
async def main():
    async with VoicePool({settings}, open_worker=Workers([{behaviour}]).open):
        pass
trio.run(main)
"""
    for settings, behaviour, numpy in (
        ("VoiceSettings()", "Behaviour()", False),
        ("VoiceSettings()", "Behaviour(engines=[])", True),
        ("VoiceSettings(engine='tones')", "Behaviour()", True),
    ):
        assert ("numpy" in imported_with(program.format(settings=settings, behaviour=behaviour))) is numpy


@pytest.mark.parametrize("text", ["", "  ...  ", "\n"])
async def test_nothing_to_say_ends_at_once(text: str) -> None:
    async with VoicePool(TONES) as pool:
        assert await said(pool, text) == b""


async def test_a_voice_that_is_not_there_and_a_speed_out_of_range_are_refused() -> None:
    pool = VoicePool(TONES)
    with pytest.raises(LocalProtocolError, match="no voice is called 'nova'"):
        pool.speech("Hello.", voice="nova")
    for speed in (0.24, 1.51, float("nan")):
        with pytest.raises(LocalProtocolError, match=r"from 0\.25 to 1\.5"):
            pool.speech("Hello.", voice="marin", speed=speed)
    assert "marin" in VOICE_NAMES


def test_settings_out_of_range_are_refused() -> None:
    for wrong in (
        partial(VoiceSettings, engine=cast("Any", "sox")),
        partial(VoiceSettings, workers=0),
        partial(VoiceSettings, cache_bytes=-1),
        partial(VoiceSettings, silence_s=0.0),
    ):
        with pytest.raises(ValueError, match="must be"):
            wrong()


async def test_a_worker_speaks_and_is_gone_with_the_block() -> None:
    pool, workers = pool_of()
    async with pool:
        assert workers.running == 1
        assert pool.worker_pids == [1]
        assert await said(pool, "a. b.") == sound("a", 0, 1, 2) + sound("b", 0, 1, 2)
    assert workers.running == 0
    assert pool.worker_pids == []


async def test_pieces_are_heard_while_the_sentence_is_being_spoken(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = pool_of(Behaviour(piece_s=1.0))
    async with pool, pool.speech("a. b.", voice="marin") as pieces:
        times = [trio.current_time() async for _ in pieces]
    assert times == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


async def test_two_sentences_ahead_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of()
    async with pool, pool.speech("a. b. c. d.", voice="marin") as pieces:
        await anext(pieces)
        await trio.sleep(10)
        assert [message.text for message in workers.asked if isinstance(message, Speak)] == ["a.", "b."]
        for _ in range(3):
            await anext(pieces)  # the first piece of b
        await trio.sleep(10)
        assert [message.text for message in workers.asked if isinstance(message, Speak)] == ["a.", "b.", "c."]


async def test_speakers_take_turns_by_sentences(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(pieces=1, piece_s=1.0))
    async with pool, trio.open_nursery() as nursery:
        nursery.start_soon(said, pool, "a1. a2. a3. a4. a5. a6.")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(said, pool, "b1. b2. b3.")
    asked = [message.text for message in workers.asked if isinstance(message, Speak)]
    assert asked == ["a1.", "b1.", "a2.", "b2.", "a3.", "b3.", "a4.", "a5.", "a6."]


async def test_several_workers_speak_at_once(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(pieces=1, piece_s=1.0), workers=3)
    async with pool:
        assert len(pool.worker_pids) in {1, 2, 3}  # the block is entered with the first
        async with trio.open_nursery() as nursery:
            for letter in "abc":
                nursery.start_soon(said, pool, letter)
        assert trio.current_time() == 1.0
        assert workers.running == 3


async def test_what_was_said_before_is_not_spoken_again() -> None:
    pool, workers = pool_of()
    async with pool:
        first = await said(pool, "a.")
        assert await said(pool, "a.") == first
        await said(pool, "a.", "ash")
        await said(pool, "a.", speed=1.25)
        await said(pool, "a.", audio_format=PCMA)
        await said(pool, "a.", audio_format=PCMA)
    asked = [message for message in workers.asked if isinstance(message, Speak)]
    assert [(message.voice, message.speed, message.audio_format) for message in asked] == [
        ("marin", 1.0, "audio/pcm"),
        ("ash", 1.0, "audio/pcm"),
        ("marin", 1.25, "audio/pcm"),
        ("marin", 1.0, "audio/pcma"),
    ]


async def test_many_who_say_the_same_at_once_are_served_by_one(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(piece_s=1.0))
    heard: list[bytes] = []

    async def listen(after_s: float) -> None:
        await trio.sleep(after_s)
        heard.append(await said(pool, "a."))

    async with pool, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(listen, number * 0.25)
    assert heard == [sound("a", 0, 1, 2)] * 20
    assert len(workers.asked) == 1


async def test_leaving_the_block_gives_the_rest_up(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(pieces=100, piece_s=1.0))
    async with pool:
        async with pool.speech("a. b. c.", voice="marin") as pieces:
            await anext(pieces)
            await anext(pieces)
        began = trio.current_time()
        assert await said(pool, "d.") == sound("d", *range(100))
        assert (
            trio.current_time() - began == 102.0
        )  # of the 298 s that a, b and c would have taken: the piece in hand and one on its way
    assert [message for message in workers.asked if isinstance(message, Stop)] == [Stop(1)]
    assert [message.text for message in workers.asked if isinstance(message, Speak)] == ["a.", "d."]


async def test_a_listener_that_is_cancelled_gives_up_only_its_own(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = pool_of(Behaviour(pieces=10, piece_s=1.0))
    heard: list[bytes] = []

    async def stay() -> None:
        heard.append(await said(pool, "a."))

    async with pool, trio.open_nursery() as nursery:
        nursery.start_soon(stay)
        with trio.move_on_after(3.5):
            await said(pool, "a.")
    assert heard == [sound("a", *range(10))]


async def test_a_worker_that_dies_is_replaced_and_its_sentence_is_heard_whole(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(dies_at_piece=4), Behaviour())
    async with pool:
        assert await said(pool, "a. b.") == sound("a", 0, 1, 2) + sound("b", 0, 1, 2)  # it died in the middle of b
        assert workers.opened == 2
        assert pool.engine == "flite"


async def test_a_sentence_that_kills_two_workers_fails_and_the_others_are_spoken(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(hangs_on="x"))
    async with pool:
        with pytest.raises(VoiceFailedError, match="said nothing for 10 s"):
            await said(pool, "x.")
        assert await said(pool, "a.") == sound("a", 0, 1, 2)
    assert workers.opened == 3


async def test_a_refused_sentence_fails_for_its_speaker_alone() -> None:
    pool, workers = pool_of(Behaviour(refuses="x"))
    async with pool:
        with pytest.raises(VoiceFailedError, match="refused"):
            await said(pool, "x.")
        assert await said(pool, "a.") == sound("a", 0, 1, 2)
    assert workers.opened == 1


async def test_where_there_is_neither_a_process_nor_a_thread_tones_speak_all_the_same(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_arguments: object, **_options: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", refused)
    async with VoicePool() as pool:
        assert pool.engine == "tones"
        assert "no voice worker can be started (can't start new thread)" in pool.describe()
        assert await said(pool, "Hello.") == b"".join(spoken_in_tones("Hello.", voice_profile("marin").tone_hz, 1.0))


async def test_workers_that_die_again_and_again_leave_the_speaking_to_tones(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(dies_at_start=True))
    async with pool:
        assert workers.opened == 5
        assert pool.engine == "tones"
        assert "the voice does not run (the voice worker has ended), so tones stand for speech" in pool.describe()
        assert await said(pool, "Hello.") == b"".join(spoken_in_tones("Hello.", voice_profile("marin").tone_hz, 1.0))


async def test_a_success_between_two_losses_counts(autojump_clock: trio.testing.MockClock) -> None:
    pool, workers = pool_of(Behaviour(dies_at_piece=4))
    async with pool:
        for text in ("a.", "b.", "c.", "d.", "e.", "f.", "g."):
            assert await said(pool, text) == sound(text[0], 0, 1, 2)
        assert pool.engine == "flite"
        assert workers.opened > 5


async def test_a_machine_without_a_voice_says_how_to_get_one() -> None:
    pool, _ = pool_of(Behaviour(engines=[]))
    async with pool:
        assert pool.describe().startswith("no voice is installed, so tones stand for speech; get a voice with `")
        assert "-m pip install espeakng-loader`" in pool.describe()
        assert len(await said(pool, "Hello.")) > 20000


async def test_an_engine_that_is_asked_for_and_missing_is_named() -> None:
    scripted = Workers([Behaviour(engines=[])])
    async with VoicePool(VoiceSettings(engine="flite"), open_worker=scripted.open) as pool:
        assert pool.describe().startswith("flite is not installed, so tones")


@pytest.mark.parametrize(
    ("engines", "text"),
    [
        (["flite", "espeak-ng"], "flite speaks English, espeak-ng speaks other languages; only a real model has a better voice"),
        (["flite"], "flite speaks English, and nothing else; only a real model has a better voice"),
        (["espeak-ng"], "espeak-ng speaks; `apt install flite` gives an English voice that is far better understood"),
    ],
)
async def test_what_speaks_is_described(engines: list[str], text: str) -> None:
    pool, _ = pool_of(Behaviour(engines=engines))
    async with pool:
        assert pool.describe() == text
        assert pool.engine == engines[0]


async def test_a_speech_that_outlives_the_pool_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = pool_of(Behaviour(piece_s=5.0))
    refused: list[str] = []

    async def speak_on() -> None:
        with pytest.raises(VoiceFailedError) as told:
            await said(pool, "a.")
        refused.append(str(told.value))

    async with trio.open_nursery() as nursery, pool:
        nursery.start_soon(speak_on)
        await trio.sleep(1)
    assert refused == ["the voice has ended with its server"]
