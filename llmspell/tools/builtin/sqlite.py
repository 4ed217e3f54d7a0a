"""SQL over a SQLite file that is only read."""

from __future__ import annotations

import os
import sqlite3
from typing import Any, Final
from urllib.parse import quote

from llmspell.errors import ConfigError
from llmspell.security import SecurityRequirements
from llmspell.tools import FunctionTool, tool

__all__ = ["sqlite_tools"]

_MAX_ROWS: Final = 10_000
_ALLOWED: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
# Virtual tables, such as json_each, FTS5 and R*Tree, have SQLite prepare more than is done when
# they are opened: each the declaration of its columns, R*Tree changes of its own tables. None is
# made, for the file is open to be read alone.
_CHANGES: Final = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_DELETE})
_OF_TREES: Final = ("_node", "_parent", "_rowid")
_ASKED: Final = frozenset({"data_version", "page_size"})


def sqlite_tools(file: str | os.PathLike[str]) -> list[FunctionTool[..., Any]]:
    """Tools that ask a SQLite database: ``query_database`` and ``describe_database``.

    They run confined, as RESTRICTED tools that may read the file's directory, where SQLite keeps
    what belongs to the file. SQLite itself lets nothing but reading through.

    Args:
        file: absolute path of the database, which is there when the tools are first called.

    Raises:
        ConfigError, RequirementDenied: a path that no RESTRICTED tool may have.
    """
    path = os.fspath(file)
    if not os.path.isabs(path):
        raise ConfigError(f"file must be an absolute path, got {path!r}")
    needs = SecurityRequirements.restricted().with_read_only(os.path.dirname(path))
    return [
        one.with_options(requirements=needs, idempotent=True).bind(file=path)
        for one in (query_database, describe_database)
    ]


@tool
def query_database(
    sql: str,
    file: str,
    parameters: list[str | int | float | None] | None = None,
    max_rows: int = 200,
) -> dict[str, Any]:
    """Ask the database by one SELECT statement in SQLite's dialect.

    Args:
        sql: with ? for each parameter.
        parameters: in their order.
        max_rows: that are given at most.
    """
    most = min(max(max_rows, 0), _MAX_ROWS)
    connection = _opened(file)
    try:
        connection.set_authorizer(_judged)
        cursor = connection.execute(sql, parameters or [])
        rows = cursor.fetchmany(most + 1)
        columns = [one[0] for one in cursor.description or ()]
    finally:
        connection.close()
    return {
        "columns": columns,
        "rows": [[_told(value) for value in row] for row in rows[:most]],
        "is_complete": len(rows) <= most,
    }


@tool
def describe_database(file: str) -> list[dict[str, Any]]:
    """Tell the tables and views of the database, with their columns."""
    connection = _opened(file)
    try:
        found = connection.execute(
            "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        return [
            {
                "name": name,
                "kind": kind,
                "columns": [
                    {"name": column, "type": of_type}
                    for column, of_type in connection.execute(
                        "SELECT name, type FROM pragma_table_info(?)", [name]
                    )
                ],
            }
            for name, kind in found
        ]
    finally:
        connection.close()


def _opened(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(file)}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _judged(action: int, first: str | None, second: str | None, *rest: str | None) -> int:
    name = (first or "").lower()
    is_allowed = (
        (action in _ALLOWED and (second or "").lower() != "load_extension")
        or (action == sqlite3.SQLITE_UPDATE and name in ("sqlite_master", "sqlite_schema"))
        or (action in _CHANGES and name.endswith(_OF_TREES))
        or (action == sqlite3.SQLITE_PRAGMA and name in _ASKED and second is None)
    )
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


def _told(value: Any) -> Any:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else value
