"""The server's side of a worker, over memory streams in virtual time. Real processes are in tests/end_to_end."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.realtime_server.scripted_worker import Behaviour, Workers, sound
from trio_voice.realtime_server.audio_formats import PCMU
from trio_voice.realtime_server.voice_process import VoiceProcess, WorkerLostError
from trio_voice.realtime_server.voice_protocol import Finished, Speak, Stop, pack


async def spoken_by(worker: VoiceProcess, text: str, most: int = 1000) -> tuple[str | None, bytes]:
    pieces: list[bytes] = []

    def take(audio: bytes) -> bool:
        pieces.append(audio)
        return len(pieces) < most

    return await worker.speak(text, "marin", 1.0, "en-us", PCMU, take), b"".join(pieces)


async def test_it_speaks_one_sentence_after_the_other() -> None:
    workers = Workers([Behaviour(engines=["flite", "espeak-ng"])])
    async with workers.open("auto", 10.0) as worker:
        assert worker.engines == ["flite", "espeak-ng"]
        assert await spoken_by(worker, "a") == (None, sound("a", 0, 1, 2))
        assert await spoken_by(worker, "b") == (None, sound("b", 0, 1, 2))
    assert workers.asked == [
        Speak(1, "a", "marin", 1.0, "en-us", "audio/pcmu"),
        Speak(2, "b", "marin", 1.0, "en-us", "audio/pcmu"),
    ]


async def test_a_refusal_is_returned_and_the_worker_lives_on() -> None:
    async with Workers([Behaviour(refuses="x")]).open("auto", 10.0) as worker:
        assert await spoken_by(worker, "x") == ("refused", b"")
        assert await spoken_by(worker, "a") == (None, sound("a", 0, 1, 2))


async def test_when_nobody_listens_it_says_stop_once_and_waits_for_the_end() -> None:
    workers = Workers([Behaviour(pieces=50, piece_s=0.001)])
    async with workers.open("auto", 10.0) as worker:
        refused, heard = await spoken_by(worker, "a", most=2)
        assert (refused, heard) == (None, sound("a", 0, 1))
        assert await spoken_by(worker, "b", most=1000) == (None, sound("b", *range(50)))
    assert [type(message) for message in workers.asked] == [Speak, Stop, Speak]


async def test_a_worker_that_dies_is_lost() -> None:
    async with Workers([Behaviour(dies_at_piece=2)]).open("auto", 10.0) as worker:
        with pytest.raises(WorkerLostError, match="has ended"):
            await spoken_by(worker, "a")
        with pytest.raises(WorkerLostError, match="has ended"):
            await spoken_by(worker, "b")


async def test_one_that_does_not_start_too() -> None:
    with pytest.raises(WorkerLostError, match="has ended"):
        async with Workers([Behaviour(dies_at_start=True)]).open("auto", 10.0):
            raise AssertionError("it did not start")


async def test_a_worker_that_says_nothing_is_given_up_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with Workers([Behaviour(hangs_on="h", pieces=5, piece_s=9.0)]).open("auto", 10.0) as worker:
        assert await spoken_by(worker, "slow") == (None, sound("s", *range(5)))  # 45 s, but never 10 without a word
        began = trio.current_time()
        with pytest.raises(WorkerLostError, match="said nothing for 10 s"):
            await spoken_by(worker, "h")
        assert trio.current_time() == began + 10.0


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [(b"Fatal Python error: Segmentation fault", "bytes on the voice worker's pipe"), (pack(Finished(77)), "out of turn"),
     (pack(Stop(1)), "sent Stop"), (b"\0\0\0\x01\xc1", "no message")],
)  # fmt: skip
async def test_a_worker_that_makes_no_sense_is_lost(answer: bytes, complaint: str) -> None:
    async with Workers([Behaviour(raw_answer=answer)]).open("auto", 10.0) as worker:
        with pytest.raises(WorkerLostError, match=complaint):
            await spoken_by(worker, "a")


async def test_a_worker_that_takes_nothing_in_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    to_worker, _worker_input = trio.testing.lockstep_stream_one_way_pair()
    _worker_output, from_worker = trio.testing.memory_stream_one_way_pair()
    with pytest.raises(WorkerLostError, match="took nothing in for 10 s"):
        await spoken_by(VoiceProcess(to_worker, from_worker, 1, 10.0), "a")
    assert trio.current_time() == 10.0
