from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from trio_voice.core.commands import ClearPlayback
from trio_voice.dialects import DIALECTS, dialect_at_path, dialect_named
from trio_voice.dialects.base import Capabilities, OddityKind
from trio_voice.dialects.twilio import TwilioDialect
from trio_voice.errors import LocalProtocolError


def test_a_dialect_is_found_by_its_name() -> None:
    assert isinstance(dialect_named("twilio"), TwilioDialect)
    assert dialect_named("Twilio") is None
    assert dialect_named("") is None


def test_the_registry_and_the_dialects_agree_on_their_names() -> None:
    for name in DIALECTS:
        found = dialect_named(name)
        assert found is not None
        assert found.name == name


def test_each_lookup_makes_a_codec_of_its_own() -> None:
    first, second = dialect_named("twilio"), dialect_named("twilio")
    assert first is not None
    assert second is not None
    first.decode('{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1"}}')
    assert first.encode(ClearPlayback()) == ('{"event":"clear","streamSid":"MZ1"}',)
    with pytest.raises(LocalProtocolError):
        second.encode(ClearPlayback())


@pytest.mark.parametrize("path", ["/media/twilio", "/media/twilio?token=x"])
def test_a_path_names_its_dialect(path: str) -> None:
    assert isinstance(dialect_at_path(path), TwilioDialect)


@pytest.mark.parametrize(
    "path",
    [
        "/media",
        "/media/",
        "/media/nobody",
        "/media/twilio/",
        "/media//twilio",
        "twilio",
        "/x/media/twilio",
        "",
        "?",
        "/Media/twilio",
    ],
)
def test_any_other_path_names_none(path: str) -> None:
    assert dialect_at_path(path) is None


def test_the_docs_name_every_dialect_and_every_oddity() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
    assert [name for name in DIALECTS if f"/media/{name}`" not in page] == []
    assert [kind.value for kind in OddityKind if f"`{kind.value}`" not in page] == []
    assert [field.name for field in attrs.fields(Capabilities) if f"`{field.name}`" not in page] == []
