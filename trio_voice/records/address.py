"""Where the database is: an address that is checked, and that shows no password."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from trio_voice.errors import ConfigError, how_to_install

SQLITE, POSTGRESQL = "sqlite", "postgresql+psycopg"
_POSTGRESQL_NAMES = frozenset({"postgresql", "postgres", POSTGRESQL})
_EXAMPLES = "sqlite:////var/lib/trio-voice/calls.db, or postgresql://user@host/database"
_SECRET = re.compile(r"(?<=password=)[^\s&'\"]+|(?<=//)([^:/@\s]*):[^@/\s]*(?=@)")


@frozen
class Address:
    """A database's address. `str()` of it, and `repr`, are without the password."""

    url: URL = field(repr=False)

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        bare = self.url.set(drivername="postgresql").difference_update_query([*self.url.query])
        return bare.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The file, of SQLite."""
        return Path(self.url.database or "") if self.url.drivername == SQLITE else None

    def without_secrets(self, text: str) -> str:
        """Take the password, and all that looks like one, out of a text, for instance a driver's error."""
        secrets = {self.url.password, self.url.query.get("password")}
        for secret in secrets:
            if isinstance(secret, str) and secret:
                text = text.replace(secret, "***")
        return _SECRET.sub(lambda found: "***" if found[1] is None else f"{found[1]}:***", text)


def file_address(path: Path) -> Address:
    """The address of a SQLite file."""
    return Address(URL.create(SQLITE, database=str(path.absolute())))


def read_address(text: str) -> Address:
    """Read `records.url`. Raises ConfigError, which does not show the text: there may be a password in it."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError(f"records.url is no address of a database; it looks like {_EXAMPLES}") from None
    except ValueError:
        raise ConfigError(f"records.url has a port that is no number; it looks like {_EXAMPLES}") from None
    if url.drivername == SQLITE:
        if not url.database or url.database == ":memory:":
            raise ConfigError(f"records.url names no file; records must outlive the server: {_EXAMPLES}")
        return file_address(Path(url.database).expanduser())
    if url.drivername not in _POSTGRESQL_NAMES:
        raise ConfigError(f"records.url names a database ({url.drivername}) that is not known here; it looks like {_EXAMPLES}")
    if find_spec("psycopg") is None:
        how = how_to_install("psycopg[binary]")
        raise ConfigError(f"records.url names PostgreSQL, whose driver is not installed; install it with: {how}")
    return Address(url.set(drivername=POSTGRESQL))
