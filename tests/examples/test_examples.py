from __future__ import annotations

from pathlib import Path

import pytest

from trio_voice.agent_file import load_agent
from trio_voice.config import load_settings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_an_example_in_toml_is_a_whole_configuration(path: Path) -> None:
    settings = load_settings(file=path, environ={})
    assert settings.agent.name == "practice of Doctor Green"
    assert settings.agent.greeting.startswith("Say: Good morning")


TOOLS = {
    "language_assessment.py": {"ceiling_reached"},
    "receptionist.py": {"book", "free_hours", "to_billing"},
}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_in_python_is_a_whole_agent(path: Path) -> None:
    loaded = load_agent(str(path))
    assert set(loaded.agent.toolbox) == {"hang_up", *TOOLS[path.name]}
