"""A real PostgreSQL server of our own, in a folder of its own, reached by a socket in that folder: no port, no password."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _program(name: str) -> Path | None:
    if found := shutil.which(name):
        return Path(found).resolve()
    return next((folder / name for folder in reversed(BINARIES) if (folder / name).exists()), None)


@define
class Server:
    """A server that can be stopped and started again. It refuses to run as root, which then lends it another user's name."""

    folder: Path
    pg_ctl: Path
    user: str | None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:kept-secret@/{database}?host={self.folder}"

    def run(self, *command: str | Path) -> None:
        subprocess.run(
            [str(part) for part in command], user=self.user, check=True, cwd=self.folder, capture_output=True, timeout=60
        )

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        self.run(self.pg_ctl, "-D", self.folder / "data", "-o", options, "-l", self.folder / "log", "-w", "start")

    def stop(self) -> None:
        """End it at once, as a crash does."""
        self.run(self.pg_ctl, "-D", self.folder / "data", "-m", "immediate", "-w", "stop")


@contextmanager
def server() -> Iterator[Server]:
    """Have a server for the time of the block; skips where PostgreSQL is not installed."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="the driver is not installed: pip install 'trio-voice[postgres]'")
    user = None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if os.getuid() == 0:
            user = next((each.pw_name for each in pwd.getpwall() if each.pw_name in ("postgres", "nobody")), None)
            if user is None:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
            shutil.chown(folder, user)
        found = Server(folder, pg_ctl, user)
        found.run(initdb, "-D", folder / "data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale")
        found.start()
        try:
            yield found
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                found.stop()
    finally:
        shutil.rmtree(folder)
