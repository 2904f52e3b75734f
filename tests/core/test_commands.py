import re
from pathlib import Path

import pytest

from trio_voice.core import commands
from trio_voice.core.commands import (
    AddText,
    AppendAudio,
    CancelResponse,
    Command,
    CreateResponse,
    DeleteItem,
    PlayAudio,
    Purpose,
    Refusal,
    SendToolResult,
    TruncateItem,
    event_id_of,
)

KINDS = [value for value in vars(commands).values() if isinstance(value, type) and issubclass(value, Command)]


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_slotted_and_explained(kind: type[Command]) -> None:
    assert kind.__doc__
    assert "__slots__" in vars(kind)
    assert kind.__setattr__ is not object.__setattr__


def test_each_that_can_be_refused_names_itself() -> None:
    ids = [
        CreateResponse(1, 7, Purpose.TURN).event_id,
        CancelResponse(1, "r1").event_id,
        TruncateItem(1, "i1", 10).event_id,
        DeleteItem(1, "i1").event_id,
        AddText(1, 7, "user", "x").event_id,
        SendToolResult(1, "t1", "x").event_id,
    ]
    assert ids == ["create-7", "cancel-r1", "truncate-i1", "delete-i1", "text-7", "tool-t1"]


def test_audio_is_shown_by_its_size() -> None:
    assert repr(AppendAudio(1, bytes(160))) == "AppendAudio(session=1, audio=<160 bytes>)"
    assert repr(PlayAudio("r1", "i1", bytes(8))) == "PlayAudio(response_id='r1', item_id='i1', audio=<8 bytes>)"


def test_reasons_and_purposes_are_their_names() -> None:
    assert all(member.value == member.name.lower() for kind in (Purpose, Refusal) for member in kind)


def test_the_id_of_any_command() -> None:
    assert event_id_of(CancelResponse(1, "r1")) == "cancel-r1"
    assert event_id_of(AppendAudio(1, b"")) is None


def test_no_word_is_there_that_nothing_says() -> None:
    folder = Path(commands.__file__).parent
    core = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "commands.py")
    said = set(re.findall(r"\w+", core)) | set(re.findall(r"\b(?:Refusal|Purpose)\.\w+", core))
    assert {word for kind in (Refusal, Purpose) for word in map(str, kind)} <= said
    assert {kind.__name__ for kind in KINDS if kind is not Command} <= said
