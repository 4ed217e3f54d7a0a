"""A process that works for several tenants, and tells all that it said while it did."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import llmspell
from llmspell import AsyncTenant, Hits, Tenant, errors
from tests.isolation.calls import OF_DATABASE, OF_TENANT, call, plain
from tests.tenancy.texts import Lines

Way = Literal["sync", "async"]


class Reply(NamedTuple):
    """What came of a call.

    Args:
        error: name of the error's class, or "".
        value: what was returned, as tuples and lists; the generation where it is a handle.
        said: all text that came out beside: result, error with notes and causes, logs, events.
        metrics: Prometheus text of the database.
        asked: the public operation that was asked for and did what it should, or "".
    """

    error: str
    value: Any
    said: str
    metrics: str = ""
    asked: str = ""


class Hand:
    """Does what it is asked with one data directory, through sync or async objects.

    Handles are kept by name and generation, so that those of former tenants are used as well.

    Args:
        data: the directory.
        settings: of :func:`llmspell.open`.
    """

    def __init__(self, data: Path, **settings: Any) -> None:
        self._data = data
        self._settings = settings
        self._handles: dict[tuple[Way, str, int], Tenant | AsyncTenant] = {}
        self._hits: dict[tuple[Way, str, int], Any] = {}
        self._heard: list[str] = []
        self._log = _Listener(self._heard)
        logging.getLogger("llmspell").addHandler(self._log)
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._open())

    def ask(self, way: Way, what: str, *given: Any, **named: Any) -> Reply:
        """Call ``Tenant.NAME`` or ``Database.NAME`` and keep what it gives.

        Of a tenant's, its name and generation come first.
        """
        return self._loop.run_until_complete(self._ask(way, what, *given, **named))

    def close(self) -> None:
        logging.getLogger("llmspell").removeHandler(self._log)
        self._loop.run_until_complete(self._async.close())
        self._loop.close()

    async def _ask(self, way: Way, what: str, *given: Any, **named: Any) -> Reply:
        self._heard.clear()
        self._asked = ""
        error, value = "", None
        kind, _, member = what.partition(".")
        try:
            if kind == "Tenant":
                value = plain(await self._of_tenant(way, member, *given, **named))
            else:
                value = plain(await self._of_database(way, member, *given, **named))
        except errors.LlmspellError as raised:
            error = type(raised).__name__
            self._heard.extend(f"{one!r}\n{one.args!r}\n{one.__dict__!r}" for one in chain(raised))
            # Lines of the sources that it came through are ours, and hold nobody's data.
            self._heard.extend(traceback.format_exception_only(raised))
        except Exception as raised:  # none that a public operation may raise
            error = type(raised).__name__
            self._heard.append(traceback.format_exc())
        self._heard.append(repr(value))
        asked = "" if error else self._asked
        return Reply(error, value, "\n".join(self._heard), self._database.metrics(), asked)

    async def _of_tenant(
        self, way: Way, what: str, name: str, generation: int, *given: Any, **named: Any
    ) -> Any:
        at = way, name, generation
        if what == "look":  # at hits of a search that was made before
            return self._hits.pop(at, None)
        handle = self._handles.get(at)
        if handle is None:
            handle = await call(self._database_of(way), "tenant", name)
            if handle.generation != generation:
                raise errors.TenantNotFound(f"generation {generation} is no more")
            self._handles[at] = handle
        self._heard.append(repr(handle))
        self._asked = f"{type(handle).__name__}.{what}"
        if what == "close":
            del self._handles[at]
        if what in OF_TENANT:
            return await OF_TENANT[what](handle, *given, **named)
        keep = named.pop("keep", False)
        value = await call(handle, what, *given, **named)
        if keep and isinstance(value, Hits):
            self._hits[at] = value
            return None
        return value

    async def _of_database(self, way: Way, what: str, *given: Any, **named: Any) -> Any:
        database = self._database_of(way)
        self._asked = f"{type(database).__name__}.{what}"
        if what == "close":
            self._handles.clear()
            self._hits.clear()
            await call(database, "close")
            await self._async.close()
            await self._open()
            return None
        if what in OF_DATABASE:
            value = await OF_DATABASE[what](database, *given, **named)
        else:
            value = await call(database, what, *given, **named)
        if isinstance(value, (Tenant, AsyncTenant)):
            self._handles[way, value.id, value.generation] = value
            return value.generation
        return value

    def _database_of(self, way: Way) -> Any:
        return self._database if way == "sync" else self._async

    async def _open(self) -> None:
        self._database = llmspell.open(
            self._data,
            texts=Lines(),
            lock_timeout=60.0,
            on_event=lambda event: self._heard.append(repr(event)),
            **self._settings,
        )
        self._async = await self._database.__aenter__()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error with all that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(self.format(record))
