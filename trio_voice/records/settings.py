"""What can be set about records."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen(kw_only=True)
class RecordsSettings:
    """Section [records]: the database of calls (docs/records.md)."""

    enabled: bool = True
    """Keep a record of every call."""
    url: str | None = field(default=None, repr=False)
    """The database: sqlite:////path/to/calls.db, or postgresql://user@host/database, whose password belongs into
    TRIO_VOICE_RECORDS_URL, PGPASSWORD or ~/.pgpass, not into a file that is shared. Left out: the file calls.db in the calls
    folder."""
    full_numbers: bool = False
    """Keep telephone numbers in full; else their last four digits."""
    spool_limit: int = field(default=10_000, validator=validators.ge(1))
    """For how many calls is kept on disk what their journals do not tell, while the database does not answer."""
