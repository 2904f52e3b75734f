"""The timeline as its callers use it: a journal and two recordings in, a file out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trio_voice.errors import UserError
from trio_voice.storage import timeline
from trio_voice.storage.timeline import draw_timeline

VOICE = (np.sin(np.arange(24000) / 3) * 9000).astype("<i2").tobytes()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    records = [
        {"journal": 1, "call_id": "c1", "call_sid": "CA1"},
        {"t": 0.5, "event": "SpeechStarted", "item_id": "a"},
        {"t": 1.5, "event": "SpeechStopped", "item_id": "a"},
        {"t": 1.6, "event": "CallerTranscribed", "item_id": "a", "text": "Привет, $5 and 電話"},
        {"t": 2.0, "command": "CreateResponse", "request": 1, "purpose": "turn"},
    ]
    path = tmp_path / "call.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    return path


def test_a_picture_is_written(journal: Path, tmp_path: Path) -> None:
    draw_timeline(journal, VOICE, VOICE, tmp_path / "call.png")
    assert (tmp_path / "call.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_drawing_shows_the_texts_in_any_script(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_timeline(journal, b"", VOICE, tmp_path / "call.svg", caller_words=[(0.5, "what was said")])
    drawn = (tmp_path / "call.svg").read_text("utf-8")
    assert "<!-- what was said -->" in drawn
    assert "Привет" not in drawn
    draw_timeline(journal, b"", b"", tmp_path / "call.svg")
    assert "<!-- Привет, $5 and 電話 -->" in (tmp_path / "call.svg").read_text("utf-8")


def test_without_a_journal_there_are_the_voices(tmp_path: Path) -> None:
    draw_timeline(None, VOICE, VOICE, tmp_path / "call.png")
    assert (tmp_path / "call.png").stat().st_size > 5000


def test_a_missing_journal_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.jsonl: the journal cannot be read \(No such file or directory\)"):
        draw_timeline(tmp_path / "nowhere.jsonl", b"", b"", tmp_path / "call.png")


def test_without_matplotlib_it_is_said_how_to_get_it(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="-m pip install matplotlib"):
        draw_timeline(journal, b"", b"", tmp_path / "call.png")
