"""Where the benches leave their figures: bench/results/NAME.json, and pictures beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, report: Any) -> Path:
    """Write a report of plain values and attrs objects; what was not measured (NaN) becomes null. Returns the file."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return target


def read_result(name: str) -> Any:
    """A report that was written."""
    return msgspec.json.decode((RESULTS / f"{name}.json").read_bytes())
