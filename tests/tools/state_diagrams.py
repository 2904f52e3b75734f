"""Writes docs/state-machines.md from the tables: `python -m tests.tools.state_diagrams`. A test holds the page to them."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from trio_voice.core import states
from trio_voice.core.states import (
    CHANGE_TABLE,
    MIRROR_TABLE,
    REFUSALS,
    RESPONSE_TABLE,
    ChangeSignal,
    ChangeState,
    Fault,
    ResponseState,
    Signal,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "state-machines.md"


_State = TypeVar("_State", ResponseState, ChangeState)
_Signal = TypeVar("_Signal", Signal, ChangeSignal)


def _table(table: Mapping[_Signal, Mapping[_State, _State | Fault]]) -> str:
    columns = [state.value for state in next(iter(table.values()))]
    lines = ["| signal | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for signal, row in table.items():
        lines.append(f"| {signal.value} | " + " | ".join(_cell(cell, state) for state, cell in row.items()) + " |")
    return "\n".join(lines)


def _cell(cell: _State | Fault, state: _State) -> str:
    if isinstance(cell, Fault):
        return f"*{cell.value.replace('ours', 'our')} fault*"
    return "stay" if cell is state else f"→ {cell.value}"


def _diagram() -> str:
    edges: dict[tuple[str, str], list[str]] = defaultdict(list)
    for signal, row in RESPONSE_TABLE.items():
        for state, cell in row.items():
            if isinstance(cell, ResponseState) and cell is not state:
                edges[state.value, cell.value].append(signal.value)
    lines = [f"    {source} --> {target}: {'<br/>'.join(signals)}" for (source, target), signals in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> idle", *lines, "```"])


def _refusals() -> str:
    rows = [f"| {state.value} | {refusal.value if refusal else 'none: it may be asked'} |" for state, refusal in REFUSALS.items()]
    return "\n".join(["| state of the call | a request for a reply is refused with |", "|---|---|", *rows])


def page() -> str:
    """The whole page."""
    theory = inspect.getdoc(states) or ""
    mirrored = [signal.value for signal in Signal if MIRROR_TABLE[signal] != RESPONSE_TABLE[signal]]
    return f"""# The state machines of a call

This page is written from `trio_voice/core/states.py` (`python -m tests.tools.state_diagrams`): the theory is its docstring, the
diagram and the tables are its tables. [One barge-in, read in five minutes](journal.md#one-barge-in-read-in-five-minutes)
follows a call through them.

## The response machine, drawn

{_diagram()}

## The response machine, cell by cell

{_table(RESPONSE_TABLE)}

With `turns = "model"` this differs: {", ".join(mirrored)} leads to active from every state.

## The change machine, cell by cell

{_table(CHANGE_TABLE)}

## The call machine: what a request for a reply is told

{_refusals()}

## The theory

```text
{theory}
```
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
