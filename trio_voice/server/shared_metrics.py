"""The numbers of several workers on one page: whichever of them Prometheus gets to, it tells of all.

Each worker leaves its own page in a folder every few seconds; the one that is asked reads those of the others and names the
worker in each sample. A worker that has died leaves a page that grows old, and is left out.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field

from trio_voice.server.metrics import Metrics
from trio_voice.storage.threads import in_thread

log = structlog.get_logger(__name__)

WRITTEN_EVERY_S: Final = 5.0
OLD_S: Final = 20.0
_NAMED = re.compile(r"(\d{1,5})\.prom")


@define(eq=False)
class SharedMetrics:
    """One worker's numbers, and those of the others in `folder`."""

    metrics: Metrics
    worker: int
    folder: Path
    _complained: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Leave our page for the others, again and again; runs until cancelled."""
        while True:
            try:
                await in_thread(self._write, self.metrics.page())
            except OSError as error:  # there is no thread
                self._complain(error)
            await trio.sleep(WRITTEN_EVERY_S)

    async def page(self) -> bytes:
        """All workers' numbers; our own alone when there is no thread to read the others'."""
        pages: dict[int, str] = {}
        with suppress(OSError):
            pages = await in_thread(self._read)
        return merged(pages | {self.worker: self.metrics.page().decode()})

    def _write(self, page: bytes) -> None:
        path = self.folder / f"{self.worker}.prom"
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            draft.write_bytes(page)
            draft.replace(path)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("the metrics cannot be shared between workers", reason=error.strerror or str(error))

    def _read(self) -> dict[int, str]:
        pages = {}
        with suppress(OSError):
            for path in self.folder.iterdir():
                named = _NAMED.fullmatch(path.name)
                if named and int(named[1]) != self.worker and time.time() - path.stat().st_mtime < OLD_S:
                    pages[int(named[1])] = path.read_text("utf-8")
        return pages


def merged(pages: Mapping[int, str]) -> bytes:
    """Put the pages of several workers together: each family once, each sample with its worker."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, page in sorted(pages.items()):
        family = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                heads.setdefault(family, [])
                samples.setdefault(family, [])
            if line.startswith("#"):
                if line not in heads[family]:
                    heads[family].append(line)
            elif line:
                samples[family].append(_of_worker(line, worker))
    return "".join(f"{line}\n" for line in _in_order(heads, samples)).encode()


def _in_order(heads: Mapping[str, list[str]], samples: Mapping[str, list[str]]) -> Iterable[str]:
    for family, head in heads.items():
        yield from head
        yield from samples[family]


def _of_worker(sample: str, worker: int) -> str:
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{worker}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{worker}"}} {value}'
