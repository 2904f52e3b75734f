"""Agents in Python files, and every mistake in one as a sentence with the file and the line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from trio_voice.agent_file import load_agent
from trio_voice.errors import UserError

GOOD = """
from __future__ import annotations

from dataclasses import dataclass

from trio_voice import Agent, CallContext, tool


@dataclass
class Slot:
    day: str
    hour: int = 9


@tool
async def book(call: CallContext, slot: Slot) -> str:
    '''Book an appointment.'''
    return slot.day


agent = Agent(name="practice", tools=[book])
billing = Agent(name="billing")
opening_hours = "nine to five"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path[:], set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(text: str, name: str = "my_agent.py") -> None:
    Path(name).write_text(dedent(text), encoding="utf-8")


def mistake(given: str = "my_agent.py") -> str:
    with pytest.raises(UserError) as error:
        load_agent(given)
    return str(error.value).replace(f"{Path.cwd()}/", "")


# --- what is loaded ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"), [("my_agent.py", "practice"), ("my_agent.py:agent", "practice"), ("my_agent.py:billing", "billing")]
)
def test_r35_an_agent_is_loaded_from_a_python_file(given: str, name: str) -> None:
    write(GOOD)
    loaded = load_agent(given)
    assert (loaded.agent.name, loaded.file) == (name, Path("my_agent.py"))


def test_an_agents_tools_know_the_types_of_their_file() -> None:
    write(GOOD)
    (book,) = load_agent("my_agent.py").agent.tools
    slot = book.read_arguments('{"slot":{"day":"Monday"}}')["slot"]
    assert (slot.day, slot.hour) == ("Monday", 9)


def test_an_agent_imports_what_lies_beside_it(folder: Path) -> None:
    (folder / "deep").mkdir()
    write("greeting = 'Say hello.'", "deep/words_of_mine.py")
    write(
        "from trio_voice import Agent\nimport words_of_mine\nagent = Agent(greeting=words_of_mine.greeting)", "deep/my_agent.py"
    )
    assert load_agent("deep/my_agent.py").agent.greeting == "Say hello."
    assert load_agent(str(folder / "deep/my_agent.py")).agent.greeting == "Say hello."


# --- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("no.py", "no.py: there is no such file; give the path of a Python file"),
        ("folder.py", "folder.py: there is no such file; give the path of a Python file"),
        ("my_agent", "my_agent: an agent is given as a Python file, my_agent.py (settings in TOML: --config FILE.toml)"),
        ("my.toml", "my.toml: an agent is given as a Python file, my_agent.py (settings in TOML: --config FILE.toml)"),
        ("my_agent.py:", "my_agent.py:: '' is no name; write FILE.py:NAME, for instance my_agent.py:agent"),
        ("my_agent.py:1st", "my_agent.py:1st: '1st' is no name; write FILE.py:NAME, for instance my_agent.py:agent"),
        (
            "my_agent.py:support",
            "my_agent.py: there is no 'support' in it; its agents: agent, billing; name one: my_agent.py:agent",
        ),
        (
            "my_agent.py:opening_hours",
            (
                "my_agent.py: 'opening_hours' is of the type str, and must be a trio_voice.Agent; "
                "its agents: agent, billing; name one: my_agent.py:agent"
            ),
        ),
        (
            "my_agent.py:book",
            (
                "my_agent.py: 'book' is a tool, and must be a trio_voice.Agent; "
                "its agents: agent, billing; name one: my_agent.py:agent"
            ),
        ),
    ],
)
def test_what_was_named_and_is_not_there_is_said(folder: Path, given: str, says: str) -> None:
    write(GOOD)
    (folder / "folder.py").mkdir()
    assert mistake(given) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "my_agent.py: there is no 'agent' in it; define one: agent = Agent(...)"),
        (
            "from trio_voice import Agent\nbilling = Agent()",
            "my_agent.py: there is no 'agent' in it; its agents: billing; name one: my_agent.py:billing",
        ),
        ("x = 1\ndef f(:\n    pass", "my_agent.py, line 2: invalid syntax: def f(:"),
        ("x = (1", "my_agent.py, line 1: '(' was never closed: x = (1"),
        (
            "from trio_voice import Agent\n\nagent = Agent(\n    name='',\n)",
            "my_agent.py, line 3: 'name' must be a text that is not empty: ''",
        ),
        (
            "from trio_voice import tool\n\n@tool\ndef book(day):\n    'Book.'",
            "my_agent.py, line 3: tool book: the argument 'day' has no type; write one, for instance day: str",
        ),
        (
            "from trio_voice import tool\ndef make():\n    return tool(3)\nmake()",
            "my_agent.py, line 3: @tool stands above a function or an async function, not above 3",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(text: str, says: str) -> None:
    write(text)
    assert mistake() == says


def test_a_file_that_is_no_text_is_said() -> None:
    Path("my_agent.py").write_bytes(b"x = '\xff'\n")
    assert mistake().startswith("my_agent.py, line ")
    assert "\n" not in mistake()


def test_a_mistake_in_a_file_beside_is_named_there() -> None:
    write("from trio_voice import tool\n\n\n@tool\ndef book(day):\n    'Book.'\n", "my_tools_beside.py")
    write("import my_tools_beside\n")
    assert mistake().startswith("my_tools_beside.py, line 4: tool book: the argument 'day' has no type")
    write("def f(:\n", "my_broken_tools.py")
    write("import my_broken_tools\n")
    assert mistake() == "my_broken_tools.py, line 1: invalid syntax: def f(:"


def test_what_the_users_code_raises_is_shown_from_their_file_on() -> None:
    write(
        """
        def connect(port):
            return {}[port]

        connect(5432)
        """
    )
    sentence, *way = mistake().splitlines()
    assert sentence == "my_agent.py, line 3: KeyError: 5432"
    files = [line for line in way if not set(line.strip()) <= set("~^")]  # later Pythons underline more
    assert files[:4] == [
        "Traceback (most recent call last):",
        '  File "my_agent.py", line 5, in <module>',
        "    connect(5432)",
        '  File "my_agent.py", line 3, in connect',
    ]
    assert way[-1] == "KeyError: 5432"
    assert not any("agent_file" in line or "importlib" in line for line in way)


def test_what_a_library_raises_is_placed_at_the_users_line() -> None:
    write("import json\n\njson.loads('{')\n")
    sentence, *way = mistake().splitlines()
    assert sentence.startswith("my_agent.py, line 3: json.decoder.JSONDecodeError: Expecting property name")
    assert way[1] == '  File "my_agent.py", line 3, in <module>'
    assert any("json/__init__.py" in line for line in way)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module_at_all", "my_agent.py, line 1: ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise SystemExit(3)", "my_agent.py, line 1: SystemExit: 3"),
        (
            "\nopen('/no/such/file')",
            "my_agent.py, line 2: FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'",
        ),
        ("raise ValueError('one\\ntwo')", "my_agent.py, line 1: ValueError: one"),
    ],
)
def test_whatever_ends_the_loading_is_the_first_line(text: str, says: str) -> None:
    write(text)
    assert mistake().splitlines()[0] == says


def test_a_file_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)

    def refuse(path: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("importlib._bootstrap_external.FileLoader.get_data", lambda _self, path: refuse(path))
    assert mistake() == "my_agent.py: the file cannot be read (PermissionError: [Errno 13] Permission denied: 'my_agent.py')"


def test_ctrl_c_while_the_file_is_loaded_is_no_mistake() -> None:
    write("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_agent("my_agent.py")


def test_every_agent_of_the_file_is_known_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text("from trio_voice import Agent\nagent = Agent()\nbilling = Agent(name='desk')\nother = 1\n", encoding="utf-8")
    loaded = load_agent(str(file))
    assert {name: agent.name for name, agent in loaded.agents.items()} == {"agent": loaded.agent.name, "billing": "desk"}
