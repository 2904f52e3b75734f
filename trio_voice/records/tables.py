"""The database's tables as a new database is given them, and the SQL that fills them.

What changes the tables of a database that is there is a migration (`migrations/versions/`).
"""

from __future__ import annotations

from trio_voice.records.connection import Connection

REVISION = "1"
"""The schema that these tables are: the newest migration's."""

SCHEMA = "alembic_version"
"""Alembic's own table: which schema a database has."""

_NEW_SCHEMA = f"CREATE TABLE IF NOT EXISTS {SCHEMA} (version_num VARCHAR(32) NOT NULL CONSTRAINT {SCHEMA}_pkc PRIMARY KEY)"

_COLUMNS = {
    "calls": """
        call_id VARCHAR(64) NOT NULL,
        call_sid TEXT NOT NULL,
        started_at {moment_type} NOT NULL,
        duration_s FLOAT NOT NULL,
        dialect TEXT NOT NULL,
        caller TEXT,
        called TEXT,
        outcome TEXT NOT NULL,
        end_reason TEXT,
        version TEXT NOT NULL,
        turns INTEGER NOT NULL,
        barge_ins INTEGER NOT NULL,
        tool_calls INTEGER NOT NULL,
        faults INTEGER NOT NULL,
        lost_lines INTEGER NOT NULL,
        greeting_ms INTEGER,
        first_audio_ms_median INTEGER,
        first_audio_ms_max INTEGER,
        barge_in_ms_median INTEGER,
        barge_in_ms_max INTEGER
    """,
    "turns": """
        speaker TEXT NOT NULL,
        item_id TEXT NOT NULL,
        started_s FLOAT NOT NULL,
        ended_s FLOAT,
        text TEXT,
        purpose TEXT,
        status TEXT,
        heard_ms INTEGER,
        first_audio_ms INTEGER
    """,
    "tool_calls": """
        tool_call_id TEXT NOT NULL,
        name TEXT NOT NULL,
        arguments TEXT NOT NULL,
        output TEXT,
        called_s FLOAT NOT NULL,
        took_ms INTEGER
    """,
    "latencies": """
        kind TEXT NOT NULL,
        at_s FLOAT NOT NULL,
        ms INTEGER NOT NULL
    """,
}
"""`calls` has a row a call, whose `turns` counts the caller's; the others one for each thing that was in it, numbered from 1."""

_NEW_CALLS = "CREATE TABLE calls ({columns}, CONSTRAINT pk_calls PRIMARY KEY (call_id))"
_NEW_TABLE_OF_CALLS = (
    "CREATE TABLE {name} (call_id VARCHAR(64) NOT NULL, number INTEGER NOT NULL, {columns}, "
    "CONSTRAINT pk_{name} PRIMARY KEY (call_id, number), "
    "CONSTRAINT fk_{name}_call_id FOREIGN KEY (call_id) REFERENCES calls (call_id) ON DELETE CASCADE)"
)


def make_tables(connection: Connection) -> None:
    """Make what the migrations would come to, one after the other (a test compares the two)."""
    for name, columns in _COLUMNS.items():
        statement = _NEW_CALLS if name == "calls" else _NEW_TABLE_OF_CALLS
        connection.run(statement.format(name=name, columns=columns.format(moment_type=connection.moment_type)))
    for column in ("started_at", "call_sid"):
        connection.run(f"CREATE INDEX ix_calls_{column} ON calls ({column})")
    connection.run(_NEW_SCHEMA)
    connection.run(_insertion(SCHEMA, ("version_num",)), [{"version_num": REVISION}])


def _names(columns: str) -> tuple[str, ...]:
    return tuple(line.split()[0] for line in columns.strip().splitlines())


def _insertion(name: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f":{column}" for column in columns)
    return f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names of this file, and no values


CALL_COLUMNS = _names(_COLUMNS["calls"])
PART_COLUMNS = {name: _names(columns) for name, columns in _COLUMNS.items() if name != "calls"}
"""Without `call_id` and `number`."""
INSERT_CALL = _insertion("calls", CALL_COLUMNS)
INSERT_PART = {name: _insertion(name, ("call_id", "number", *columns)) for name, columns in PART_COLUMNS.items()}
