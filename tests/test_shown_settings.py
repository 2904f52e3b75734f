"""The settings as people may see them: all of them, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve, field, frozen

from trio_voice.config import SECTIONS, load_settings
from trio_voice.shown_settings import LONGEST_TEXT, _section, shown_settings


def test_every_setting_is_shown_and_what_differs_from_its_default_is_marked(tmp_path: Path) -> None:
    settings = load_settings(environ={}, assignments=["server.port=9000", "call.watchdog_s=2.5"], folder=tmp_path)
    shown = shown_settings(settings)
    assert list(shown) == list(SECTIONS)
    assert shown["server"]["port"] == {"value": 9000, "is_default": False, "is_hidden": False}
    assert shown["server"]["host"] == {"value": "127.0.0.1", "is_default": True, "is_hidden": False}
    assert shown["server"]["console"] == {"value": "token", "is_default": True, "is_hidden": False}
    assert shown["server"]["calls_folder"]["value"] == str(tmp_path / "calls")
    assert shown["call"]["watchdog_s"]["value"] == 2.5
    json.dumps(shown)


def test_r40_no_secret_of_the_environment_is_shown(tmp_path: Path) -> None:
    secrets = {"TRIO_VOICE_MODEL_API_KEY": "sk-never-shown", "TWILIO_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}
    settings = load_settings(environ=secrets | {"TRIO_VOICE_API_TOKEN": "a-token-never-shown-either"}, folder=tmp_path)
    text = json.dumps(shown_settings(settings))
    assert not any(secret in text for secret in [*secrets.values(), "a-token-never-shown-either"])


@frozen
class Section:
    key: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ("a", "b")
    text: str = ""


@pytest.mark.parametrize(("key", "is_set"), [("secret", True), (None, False)])
def test_a_field_that_is_kept_out_of_the_repr_is_hidden(key: str | None, is_set: bool) -> None:
    shown = _section(evolve(Section(), key=key), Section())
    assert shown["key"] == {"value": is_set, "is_default": key is None, "is_hidden": True}
    assert shown["names"]["value"] == ["a", "b"]


def test_a_long_text_is_cut() -> None:
    shown = _section(Section(text="x" * (LONGEST_TEXT + 1)), Section())
    assert shown["text"]["value"] == "x" * LONGEST_TEXT + " ..."
