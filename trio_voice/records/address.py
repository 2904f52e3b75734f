"""Where the database is: an address that is checked, and that shows no password."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from attrs import field, frozen

from trio_voice.errors import ConfigError, how_to_install

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_SQLITE, POSTGRESQL = "sqlite://", "postgresql+psycopg"
_POSTGRESQL_NAMES = frozenset({"postgresql", "postgres", POSTGRESQL})
_EXAMPLES = "sqlite:////var/lib/trio-voice/calls.db, or postgresql://user@host/database"
_SECRET = re.compile(r"(?<=password=)[^\s&'\"]+|(?<=//)([^:/@\s]*):[^@/\s]*(?=@)")


@frozen
class Address:
    """A database's address. `str()` of it, and `repr`, are without the password."""

    path: Path | None = None
    """The file, of SQLite."""
    url: URL | None = field(default=None, repr=False)
    """The server and its database, of PostgreSQL."""

    def __str__(self) -> str:
        if self.url is None:
            return str(self.path)
        bare = self.url.set(drivername="postgresql").difference_update_query([*self.url.query])
        return bare.render_as_string(hide_password=True)

    def without_secrets(self, text: str) -> str:
        """Take the password, and all that looks like one, out of a text, for instance a driver's error."""
        secrets = set() if self.url is None else {self.url.password, self.url.query.get("password")}
        for secret in secrets:
            if isinstance(secret, str) and secret:
                text = text.replace(secret, "***")
        return _SECRET.sub(lambda found: "***" if found[1] is None else f"{found[1]}:***", text)


def file_address(path: Path) -> Address:
    """The address of a SQLite file."""
    return Address(path=path.absolute())


def read_address(text: str) -> Address:
    """Read `records.url`. Raises ConfigError, which does not show the text: there may be a password in it."""
    if text.startswith(_SQLITE):
        name = unquote(text.removeprefix(_SQLITE).partition("?")[0].partition("/")[2])
        if not name or name == ":memory:":
            raise ConfigError(f"records.url names no file; records must outlive the server: {_EXAMPLES}")
        return file_address(Path(name).expanduser())
    return Address(url=_server_url(text))


def _server_url(text: str) -> URL:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - 12 MB, which the default database does without
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError(f"records.url is no address of a database; it looks like {_EXAMPLES}") from None
    except ValueError:
        raise ConfigError(f"records.url has a port that is no number; it looks like {_EXAMPLES}") from None
    if url.drivername not in _POSTGRESQL_NAMES:
        raise ConfigError(f"records.url names a database ({url.drivername}) that is not known here; it looks like {_EXAMPLES}")
    if find_spec("psycopg") is None:
        how = how_to_install("psycopg[binary]")
        raise ConfigError(f"records.url names PostgreSQL, whose driver is not installed; install it with: {how}")
    return url.set(drivername=POSTGRESQL)
