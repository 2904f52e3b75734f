"""What `trio_voice` offers, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import trio_voice
from trio_voice.agent.agent import Agent
from trio_voice.agent.change import Change
from trio_voice.agent.context import CallContext, ModelApi, NotSupported
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.tool import Tool, ToolError, tool
from trio_voice.core.settings import CallSettings
from trio_voice.errors import TrioVoiceError, UserError

PUBLIC: list[Any] = [
    Agent, AgentError, CallContext, CallSettings, Change, ModelApi, NotSupported, Tool, ToolError, TrioVoiceError, UserError, tool
]  # fmt: skip


def imported_with(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after this statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_every_public_name_is_the_thing_itself() -> None:
    names: dict[str, object] = {}
    exec("from trio_voice import *", names)
    assert [names[each.__name__] for each in PUBLIC] == PUBLIC
    assert [each.__name__ for each in PUBLIC] == trio_voice.__all__


def test_another_name_is_none() -> None:
    with pytest.raises(ImportError, match="cannot import name 'agnet'"):
        exec("from trio_voice import agnet")
    with pytest.raises(AttributeError, match="module 'trio_voice' has no attribute 'agnet'"):
        exec("import trio_voice; trio_voice.agnet")


def test_importing_the_package_imports_nothing_of_it_and_its_names_no_server() -> None:
    assert {name for name in imported_with("import trio_voice") if name.startswith("trio_voice")} == {"trio_voice"}
    names = imported_with("from trio_voice import *")
    parts = {name.split(".")[1] for name in names if name.startswith("trio_voice.")}
    assert parts == {"agent", "core", "errors", "realtime"}
    assert names.isdisjoint({"trio", "structlog", "openai", "pydantic", "numpy", "starlette", "click"})


def test_the_phone_and_the_embedded_model_do_not_import_what_they_must_not_share() -> None:
    names = imported_with("import trio_voice.phone.carrier, trio_voice.realtime_server.events")
    assert not [name for name in names if name.startswith(("trio_voice.core", "trio_voice.agent", "trio_voice.realtime."))]
