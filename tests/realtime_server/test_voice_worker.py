"""The worker's loop, on pipes in this process: one answer to each job, a stop in mid-sentence, an end with its input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from attrs import define, field

from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime_server.audio_formats import FORMATS, AudioFormat
from trio_voice.realtime_server.voice_encoding import from_voice
from trio_voice.realtime_server.voice_protocol import Failed, Finished, MessageBuffer, Piece, Ready, Speak, Stop, pack
from trio_voice.realtime_server.voice_worker import Engines, Worker


def job(number: int, text: str = "aaa", audio_format: str = "audio/pcm") -> Speak:
    return Speak(number, text, "marin", 1.0, "en-us", audio_format)


@define
class SpellingEngines(Engines):
    """Speaks a letter a piece; after each it does what the test wants."""

    flite: None = None
    espeak: None = None
    between: Callable[[str], None] = field(default=lambda letter: None)

    def names(self) -> list[str]:
        return ["spelling"]

    def speak(self, job: Speak, take: Callable[[bytes], bool]) -> str | None:
        if job.text == "?":
            return "no such letter"
        for letter in job.text:
            self.between(letter)
            if not take(letter.encode() * 2):
                break
        return None


class Wires:
    """The server's ends of the worker's two pipes."""

    def __init__(self) -> None:
        self.input, self._ask = os.pipe()
        self._hear, self.output = os.pipe()
        self._open = {self.input, self._ask, self._hear, self.output}

    def ask(self, *messages: Speak | Stop) -> None:
        os.write(self._ask, b"".join(map(pack, messages)))

    def hang_up(self) -> None:
        self._close(self._ask)

    def stop_listening(self) -> None:
        self._close(self._hear)

    def reports(self) -> list[object]:
        self._close(self.output)
        data = b""
        while piece := os.read(self._hear, 65536):
            data += piece
        return list(MessageBuffer().feed(data))

    def _close(self, end: int) -> None:
        self._open.remove(end)
        os.close(end)

    def close(self) -> None:
        for end in self._open:
            os.close(end)


@pytest.fixture
def wires() -> Iterator[Wires]:
    made = Wires()
    yield made
    made.close()


def test_the_end_of_its_input_ends_it_whatever_is_left_to_speak(wires: Wires) -> None:
    wires.ask(job(1, "ab"), job(2, "?"), job(3, "c"))
    wires.hang_up()
    Worker(SpellingEngines(), wires.input, wires.output).run()
    assert wires.reports() == [Ready(["spelling"]), Piece(1, b"aa"), Finished(1)]


def test_jobs_are_spoken_in_their_order(wires: Wires) -> None:
    wires.ask(job(1, "ab"), job(2, "?"), job(3, "c"))
    left = iter("abc")

    def hang_up_at_last(letter: str) -> None:
        assert letter == next(left)
        if letter == "c":
            wires.ask(Stop(9))
            wires.hang_up()

    Worker(SpellingEngines(between=hang_up_at_last), wires.input, wires.output).run()
    assert wires.reports() == [
        Ready(["spelling"]),
        Piece(1, b"aa"),
        Piece(1, b"bb"),
        Finished(1),
        Failed(2, "no such letter"),
        Piece(3, b"cc"),
        Finished(3),
    ]


@pytest.mark.parametrize("target", FORMATS.values())
def test_a_sentence_leaves_in_the_format_that_is_asked_for(wires: Wires, target: AudioFormat) -> None:
    wires.ask(job(1, "aaaabbb", target.name), job(2, "aaaabbb", target.name))
    left = list("aaaabbb" * 2)

    def hang_up_at_last(letter: str) -> None:
        assert left.pop(0) == letter
        if not left:
            wires.hang_up()

    Worker(SpellingEngines(between=hang_up_at_last), wires.input, wires.output).run()
    reports = wires.reports()
    for number in (1, 2):  # each sentence begins afresh
        spoken = b"".join(report.audio for report in reports if isinstance(report, Piece) and report.job == number)
        assert spoken == from_voice(target).convert(b"aa" * 4 + b"bb" * 3)
    assert all(report.audio for report in reports if isinstance(report, Piece))


def test_a_stop_ends_the_sentence_after_the_piece_it_comes_in(wires: Wires) -> None:
    wires.ask(job(1, "abc"), job(2, "de"))

    def stop_in_b(letter: str) -> None:
        if letter == "b":
            wires.ask(Stop(1))
        if letter == "e":
            wires.hang_up()

    Worker(SpellingEngines(between=stop_in_b), wires.input, wires.output).run()
    assert wires.reports() == [
        Ready(["spelling"]),
        Piece(1, b"aa"),
        Piece(1, b"bb"),
        Finished(1),
        Piece(2, b"dd"),
        Piece(2, b"ee"),
        Finished(2),
    ]


def test_a_stop_that_comes_too_late_stops_nothing_else(wires: Wires) -> None:
    wires.ask(Stop(1), job(2, "a"))

    def hang_up(letter: str) -> None:
        wires.hang_up()

    Worker(SpellingEngines(between=hang_up), wires.input, wires.output).run()
    assert wires.reports() == [Ready(["spelling"]), Piece(2, b"aa"), Finished(2)]


def test_a_job_stopped_before_it_began_is_not_spoken(wires: Wires) -> None:
    wires.ask(Stop(5), job(5, "abc"), job(6, "d"))
    Worker(SpellingEngines(between=lambda letter: wires.hang_up()), wires.input, wires.output).run()
    assert wires.reports() == [Ready(["spelling"]), Finished(5), Piece(6, b"dd"), Finished(6)]


def test_a_server_that_is_gone_ends_it_quietly(wires: Wires) -> None:
    wires.ask(job(1, "abc"))
    Worker(SpellingEngines(between=lambda letter: wires.stop_listening()), wires.input, wires.output).run()


def test_nonsense_ends_it(wires: Wires) -> None:
    os.write(wires._ask, pack(Finished(1)))
    with pytest.raises(RemoteProtocolError, match="Finished"):
        Worker(SpellingEngines(), wires.input, wires.output).run()


def test_an_engine_that_is_asked_for_and_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert Engines.load("none").names() == []
    assert Engines(None, None).speak(job(1), lambda pcm16: True) is not None
    assert capsys.readouterr().err == ""


def test_the_installed_engines_speak() -> None:
    engines = Engines.load("flite")
    if not engines.names():
        pytest.skip("flite is not installed: apt install flite")
    pieces: list[bytes] = []

    def take(pcm16: bytes) -> bool:
        pieces.append(pcm16)
        return True

    assert engines.speak(job(1, "Hello."), take) is None
    assert sum(map(len, pieces)) > 24000
    assert engines.speak(Speak(2, "Привет.", "marin", 1.0, "ru", "audio/pcmu"), take) == "flite does not speak 'Привет.' in 'ru'"
