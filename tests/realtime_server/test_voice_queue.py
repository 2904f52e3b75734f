"""The queue of sentences: shared, remembered within a bound, given up when nobody listens, tried again once."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_voice.realtime_server.audio_formats import PCMU
from trio_voice.realtime_server.voice_queue import Sentence, SentenceKey, SentenceQueue, SentenceState


def key(text: str = "Hello.", voice: str = "marin") -> SentenceKey:
    return SentenceKey(text, voice, 1.0, "en-us", PCMU)


async def speak(queue: SentenceQueue, *pieces: bytes) -> Sentence:
    sentence = await queue.next()
    for piece in pieces:
        assert sentence.take(piece)
    queue.finish(sentence)
    return sentence


async def test_first_asked_first_spoken() -> None:
    queue = SentenceQueue(1000)
    asked = [queue.ask(key(text)) for text in "abc"]
    assert [await queue.next() for _ in range(3)] == asked


async def test_what_somebody_waits_for_goes_before_what_is_wanted_next() -> None:
    queue = SentenceQueue(1000)
    next_one, now, other, later = (queue.ask(key(text), ahead=text in "acd") for text in "abcd")
    assert queue.ask(key("d")) is later  # now somebody waits for it
    queue.hurry(other)
    queue.hurry(now)
    assert [await queue.next() for _ in range(4)] == [now, later, other, next_one]


async def test_who_asks_for_the_same_gets_the_same_once() -> None:
    queue = SentenceQueue(1000)
    first, second, other = queue.ask(key()), queue.ask(key()), queue.ask(key(voice="ash"))
    assert first is second
    assert first is not other
    assert await speak(queue, b"12") is first
    assert queue.ask(key()) is first  # out of memory
    await speak(queue)
    with trio.move_on_after(0) as nothing_waits:
        await queue.next()
    assert nothing_waits.cancelled_caught


async def test_what_nobody_wants_any_more_is_not_spoken() -> None:
    queue = SentenceQueue(1000)
    gone, wanted = queue.ask(key("gone")), queue.ask(key("wanted"))
    queue.leave(gone)
    assert gone.state is SentenceState.ABANDONED
    assert await queue.next() is wanted
    assert wanted.take(b"12")
    queue.leave(wanted)
    assert not wanted.take(b"34")
    queue.finish(wanted)
    assert wanted.state is SentenceState.ABANDONED
    assert queue.remembered_bytes == 0
    assert queue.ask(key("wanted")) is not wanted  # a half sentence is not remembered


async def test_as_long_as_one_listens_it_is_spoken() -> None:
    queue = SentenceQueue(1000)
    sentence = queue.ask(key())
    queue.ask(key())
    queue.leave(sentence)
    assert await speak(queue, b"12") is sentence
    assert sentence.state is SentenceState.SPOKEN


async def test_the_memory_is_bounded_and_forgets_what_was_asked_for_longest_ago() -> None:
    queue = SentenceQueue(10)
    asked = {text: queue.ask(key(text)) for text in "abc"}
    await speak(queue, b"1234")
    await speak(queue, b"12", b"34")
    assert queue.remembered_bytes == 8
    assert queue.ask(key("a")) is asked["a"]  # now b is the oldest
    await speak(queue, b"123")
    assert queue.remembered_bytes == 7
    assert queue.ask(key("b")) is not asked["b"]
    assert queue.ask(key("c")) is asked["c"]


async def test_a_sentence_larger_than_the_memory_is_only_heard() -> None:
    queue = SentenceQueue(3)
    sentence = queue.ask(key())
    await speak(queue, b"1234")
    assert sentence.state is SentenceState.SPOKEN
    assert queue.remembered_bytes == 0


async def test_a_lost_sentence_is_next_and_nothing_of_it_is_heard_twice() -> None:
    queue = SentenceQueue(1000)
    lost, later = queue.ask(key("lost")), queue.ask(key("later"))
    assert await queue.next() is lost
    lost.take(b"1234")
    lost.take(b"5")
    queue.lose(lost, "it died")
    assert await queue.next() is lost
    for piece in (b"12", b"3456", b"78"):
        assert lost.take(piece)
    queue.finish(lost)
    assert lost.pieces == [b"1234", b"5", b"6", b"78"]
    assert await queue.next() is later


async def test_a_sentence_that_is_lost_twice_fails() -> None:
    queue = SentenceQueue(1000)
    sentence = queue.ask(key())
    for _ in range(2):
        assert sentence.state is SentenceState.WAITING
        queue.lose(await queue.next(), "it died")
    assert sentence.state is SentenceState.FAILED
    assert sentence.reason == "it died"


async def test_a_refused_sentence_is_not_remembered() -> None:
    queue = SentenceQueue(1000)
    sentence = queue.ask(key())
    queue.refuse(await queue.next(), "no such language")
    assert (sentence.state, sentence.reason) == (SentenceState.FAILED, "no such language")
    assert queue.ask(key()) is not sentence


@pytest.mark.parametrize("taken", [False, True])
async def test_closing_refuses_what_is_in_progress(taken: bool) -> None:
    queue = SentenceQueue(1000)
    sentence = queue.ask(key())
    if taken:
        await queue.next()
    queue.close("over")
    assert (sentence.state, sentence.reason) == (SentenceState.FAILED, "over")


async def test_listeners_are_woken_by_pieces_and_by_the_end() -> None:
    queue = SentenceQueue(1000)
    sentence = queue.ask(key())
    woken = []

    async def listen() -> None:
        while sentence.state is SentenceState.WAITING:
            await sentence.changed.park()
            woken.append(len(sentence.pieces))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await queue.next()
        await trio.testing.wait_all_tasks_blocked()
        sentence.take(b"12")
        await trio.testing.wait_all_tasks_blocked()
        queue.finish(sentence)
    assert woken == [1, 1]
