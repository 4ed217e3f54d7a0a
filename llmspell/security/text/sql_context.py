"""Names and texts that go into SQL where a parameter can't.

Values belong into parameters. A name can't be one, so it is quoted; a text is quoted only for
statements that take no parameters, such as DDL.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal, get_args

from llmspell.errors import ConfigError, InputError, MissingDependency, TextRefused

__all__ = ["Dialect", "quote_identifier", "quote_like", "quote_literal"]

Dialect = Literal["duckdb", "mysql", "postgres", "snowflake", "sqlite", "tsql"]

# A setting of the server decides whether a backslash escapes what follows it.
_BACKSLASH_IN_DOUBT = {"mysql", "postgres"}
_MAX_NAME = 128  # of SQL Server; PostgreSQL would cut a name after 63 bytes, and name another table
_MAX_BYTES = {"postgres": 63, "mysql": 64}


def quote_identifier(name: str, *, dialect: Dialect) -> str:
    """A name of a table or a column in the quotes of its dialect; a dot in it is a character.

    Raises:
        TextRefused: empty, too long for the dialect, with a control character, or one that doesn't
            come back as itself when it is parsed.
        InputError: it isn't a str.
        ConfigError: an unknown dialect.
        MissingDependency: the extra ``security`` isn't installed.
    """
    sqlglot = _sqlglot(dialect)
    _hold(name, "a name")
    limit = _MAX_BYTES.get(dialect, _MAX_NAME)
    size = len(name.encode())
    if not 1 <= size <= limit:
        raise TextRefused(
            f"a name of {size} bytes was given; {dialect} takes 1 to {limit}", reason="length"
        )
    quoted = str(sqlglot.exp.to_identifier(name, quoted=True).sql(dialect=dialect))
    tokens = sqlglot.tokenize(quoted, dialect=dialect)
    if len(tokens) != 1 or tokens[0].text != name:
        raise TextRefused(f"{name!r} can't be quoted for {dialect}", reason="unquotable")
    return quoted


def quote_literal(text: str, *, dialect: Dialect) -> str:
    """A text as a literal of its dialect, for where no parameter can stand.

    Raises:
        TextRefused: with a control character other than tab and line breaks, with a backslash
            where a setting of the server decides what that means (mysql, postgres), or what
            doesn't come back as itself when it is parsed. Use a parameter.
        InputError: it isn't a str.
        ConfigError: an unknown dialect.
        MissingDependency: the extra ``security`` isn't installed.
    """
    sqlglot = _sqlglot(dialect)
    _hold(text, "a literal", allowed="\t\n\r")
    quoted = str(sqlglot.exp.Literal.string(text).sql(dialect=dialect))
    if "\\" in quoted and dialect in _BACKSLASH_IN_DOUBT:
        raise TextRefused(
            f"what a backslash means in a literal of {dialect} hangs on a setting of the server, "
            "and this text has one, or a line break that needs one: use a parameter",
            reason="backslash",
        )
    tokens = sqlglot.tokenize(quoted, dialect=dialect)
    if len(tokens) != 1 or tokens[0].text != text:
        raise TextRefused(f"the text can't be quoted for {dialect}", reason="unquotable")
    return quoted


def quote_like(text: str) -> str:
    r"""A text for a parameter of ``LIKE ? ESCAPE '!'``, in which ``%`` and ``_`` are characters."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _hold(text: str, what: str, *, allowed: str = "") -> None:
    if not isinstance(text, str):
        raise InputError(f"{what} is a str, not {type(text).__name__}")
    for index, character in enumerate(text):
        code = ord(character)
        if (code < 32 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000) and (
            character not in allowed
        ):
            raise TextRefused(
                f"{what} has U+{code:04X} at character {index}, which databases read differently",
                reason="control",
                start=index,
                end=index + 1,
            )


def _sqlglot(dialect: str) -> Any:
    if dialect not in get_args(Dialect):
        raise ConfigError(f"dialect is {dialect!r}; take one of {', '.join(get_args(Dialect))}")
    try:
        return importlib.import_module("sqlglot")
    except ImportError as error:
        raise MissingDependency("security", "sqlglot") from error
