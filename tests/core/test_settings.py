import ast
import inspect
from typing import Any

import attrs
import pytest

from trio_voice.core.settings import CallSettings, Turns, Wording

SECONDS = [field.name for field in attrs.fields(CallSettings) if field.name.endswith("_s")]
COUNTS = [field.name for field in attrs.fields(CallSettings) if field.type in ("int", int) and field.name != "mark_every_ms"]


def test_the_end_of_speech_is_half_a_second_from_the_request_at_most() -> None:
    settings = CallSettings()
    assert settings.vad_silence_ms + 1000 * settings.turn_end_s <= 500


def test_the_numbers_that_the_documents_promise() -> None:
    settings = CallSettings()
    assert (settings.turns, settings.cancel_cooldown_s, settings.calibration_limit_s) == (Turns.OURS, 0.2, 3.0)
    assert (settings.watchdog_s, settings.watchdog_retries, settings.hang_up_fallback_s) == (3.0, 2, 6.0)
    assert settings.session_age_limit_s < 60 * 60


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_are_floats_from_zero_on(name: str) -> None:
    changed: dict[str, Any] = {name: 1}
    assert type(attrs.asdict(CallSettings(**changed))[name]) is float
    with pytest.raises(ValueError, match=name):
        CallSettings(**(changed | {name: -0.001}))


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_not_negative(name: str) -> None:
    changed: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=name):
        CallSettings(**changed)


@pytest.mark.parametrize(
    "bad", [{"vad_threshold": 1.1}, {"vad_threshold": -0.1}, {"calibration_min_frames": 0}, {"mark_every_ms": 19}]
)
def test_bounds(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        CallSettings(**bad)


def test_frozen_and_by_keyword_only() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        CallSettings().greeting = False  # type: ignore[misc]  # - the mistake that is tested
    with pytest.raises(TypeError):
        CallSettings(Turns.OURS)  # type: ignore[call-arg]  # - the mistake that is tested


def test_every_setting_is_explained() -> None:
    [body] = [node.body for node in ast.parse(inspect.getsource(CallSettings)).body if isinstance(node, ast.ClassDef)]
    for setting, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(setting, ast.AnnAssign):
            explained = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            assert explained, f"{ast.unparse(setting.target)} has no docstring"


def test_wordings_have_their_places() -> None:
    wording = Wording()
    assert "hello" in wording.injected_text.format(text="hello")
    assert "12#" in wording.digits.format(digits="12#")
