"""Loads an agent that is written in Python: `my_agent.py`, or `my_agent.py:billing` for another name than `agent`.

A mistake in the file is one sentence with the file and the line. Where code of the user's own raised something, its traceback
follows, from their file on: what led there is ours, and of no use to them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from attrs import field, frozen

from trio_voice.agent.agent import Agent
from trio_voice.agent.tool import Tool
from trio_voice.errors import UserError

DEFAULT_NAME = "agent"
OWN_FOLDER = Path(__file__).parent


@frozen
class LoadedAgent:
    """An agent, and the file that it was read from, as it was given."""

    agent: Agent
    file: Path
    agents: Mapping[str, Agent] = field(factory=dict)
    """All agents in the file, by their names there: calls can be transferred to them."""


def load_agent(given: str) -> LoadedAgent:
    """Load `FILE.py` or `FILE.py:NAME`. Raises UserError."""
    path, name = _path_and_name(given)
    names = vars(_load_module(path))
    if name not in names:
        raise UserError(f"{path}: there is no {name!r} in it; {_hint(path, names)}")
    agent = names[name]
    if not isinstance(agent, Agent):
        what = "a tool" if isinstance(agent, Tool) else f"of the type {type(agent).__name__}"
        raise UserError(f"{path}: {name!r} is {what}, and must be a trio_voice.Agent; {_hint(path, names)}")
    return LoadedAgent(agent, path, {each: value for each, value in names.items() if isinstance(value, Agent)})


def _path_and_name(given: str) -> tuple[Path, str]:
    head, colon, name = given.rpartition(":")
    file, name = (head, name) if colon and not name.endswith(".py") else (given, DEFAULT_NAME)
    path = Path(file)
    if not name.isidentifier():
        raise UserError(f"{given}: {name!r} is no name; write FILE.py:NAME, for instance {file}:{DEFAULT_NAME}")
    if path.suffix != ".py":
        raise UserError(f"{path}: an agent is given as a Python file, my_agent.py (settings in TOML: --config FILE.toml)")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; give the path of a Python file")
    return path, name


def _hint(path: Path, names: dict[str, object]) -> str:
    agents = [name for name, value in names.items() if isinstance(value, Agent)]
    if agents:
        return f"its agents: {', '.join(agents)}; name one: {path}:{agents[0]}"
    return f"define one: {DEFAULT_NAME} = Agent(...)"


# --- the user's code ---------------------------------------------------------------------------------------------------


def _load_module(path: Path) -> ModuleType:
    """Run the file as a module, with its folder first among those that it imports from, as `python FILE.py` does."""
    file = path.absolute()
    name = f"_agent_file_{path.stem}"
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    sys.modules[name] = module  # where classes of the file are looked up by their modules' names
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(_syntax_error(path, error)) from None
    except UserError as error:
        raise UserError(f"{_place(error, path)}: {error}") from None
    except (Exception, SystemExit) as error:
        raise UserError(_own_error(error, path)) from None
    return module


def _syntax_error(path: Path, error: SyntaxError) -> str:
    file = path if error.filename in (None, str(path.absolute())) else Path(error.filename)
    shown = f": {error.text.strip()}" if error.text else ""
    return f"{file}, line {error.lineno}: {error.msg}{shown}"


def _own_error(error: BaseException, path: Path) -> str:
    """Say what the user's code raised, and show the way from their file to it."""
    what = traceback.format_exception_only(error)[0].splitlines()[0]
    step = error.__traceback__
    while step is not None and step.tb_frame.f_code.co_filename != str(path.absolute()):
        step = step.tb_next
    if step is None:  # it did not even begin
        return f"{path}: the file cannot be read ({what})"
    way = "".join(traceback.format_exception(error.with_traceback(step)))
    return f"{_place(error, path)}: {what}\n{way.rstrip()}"


def _place(error: BaseException, path: Path) -> str:
    """The last place on the way that is the user's: in the file, or in one that lies beside it."""
    folder, place = path.absolute().parent, str(path)
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file == path.absolute():
            place = f"{path}, line {line}"
        elif file.is_relative_to(folder) and not file.is_relative_to(OWN_FOLDER) and "site-packages" not in file.parts:
            place = f"{file}, line {line}"
    return place
