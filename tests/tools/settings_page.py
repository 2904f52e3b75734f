"""Writes docs/settings.md from the settings' classes: `python -m tests.tools.settings_page`. A test holds the page to them."""

from __future__ import annotations

import ast
import inspect
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from trio_voice.config import REFUSED, SECTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
HEAD = """# Settings

Every setting can be given in three places; the later one wins:

1. a TOML file: `trio-voice.toml` in the folder where the server starts, or the one named by `--config` or `TRIO_VOICE_CONFIG`;
2. the environment: `TRIO_VOICE_<SECTION>_<KEY>`, for instance `TRIO_VOICE_CALL_IDLE_S=8`;
3. the command line: `--set SECTION.KEY=VALUE`, or a flag of its own for the most common ones (`trio-voice serve --help`).

Secrets never go into a file that is read and shared, nor into a flag of `serve`. They come from the environment, or from files of
their own that settings name (`model.api_key_file`, `server.api_token_file`, `twilio.auth_token_file`).

| variable that is no setting | what it does |
|---|---|
| `OPENAI_API_KEY` | The key for OpenAI. If it is set, and `model.url` is not, OpenAI's model answers. |
| `TRIO_VOICE_MODEL_API_KEY` | The key for the model at `model.url`, whoever's it is. |
| `TRIO_VOICE_API_TOKEN` | The token that opens the API, the metrics and the console. |
| `TWILIO_ACCOUNT_SID`, `TWILIO_AUTH_TOKEN` | The Twilio account ([twilio](twilio.md)). |
| `TRIO_VOICE_CONFIG` | The file of settings, where `--config` names none. |
| `TRIO_VOICE_SPEECH` | Where `make call` keeps recorded speech; else `~/.cache/trio-voice/speech`. |
| `TRIO_VOICE_MODEL_KEY` | The key that `trio-voice model` asks its clients for ([realtime-server](realtime-server.md)). |

This page is written from the code (`python -m tests.tools.settings_page`).
"""


def _texts(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a class."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, below in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            texts[field.target.id] = " ".join(str(text).split())
    return texts


def _shown(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section, kind in SECTIONS.items():
        defaults, texts = kind(), _texts(kind)
        summary = " ".join((inspect.getdoc(kind) or "").split())
        parts.append(f"\n## [{section}]\n\n{summary}\n\n| key | default | what it does |\n|---|---|---|")
        for field in attrs.fields(kind):
            if f"{section}.{field.name}" not in REFUSED:
                value = object.__getattribute__(defaults, field.name)
                parts.append(f"| `{field.name}` | {_shown(value)} | {texts[field.name]} |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
