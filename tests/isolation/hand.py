"""A process that works for several tenants, and tells all that it said while it did."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import llmspell
from llmspell import Document, Hits, QuotaLimits, Record, ScanPage, Tenant, TenantConfig, errors
from tests.tenancy.texts import Lines


class Reply(NamedTuple):
    """What came of a call.

    Args:
        error: name of the error's class, or "".
        value: what was returned, as tuples and lists.
        said: all text that came out beside: result, error with notes and causes, logs, events.
        metrics: Prometheus text of the database.
    """

    error: str
    value: Any
    said: str
    metrics: str


class Hand:
    """Does what it is asked with one data directory. For one thread.

    Handles are kept by name and generation, so that those of former tenants are used as well.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._handles: dict[tuple[str, int], Tenant] = {}
        self._heard: list[str] = []
        self._log = _Listener(self._heard)
        logging.getLogger("llmspell").addHandler(self._log)
        self._open()

    def ask(self, what: str, *given: Any, **named: Any) -> Reply:
        """Run one of the methods below, or an operation of a tenant's handle."""
        self._heard.clear()
        error, value = "", None
        try:
            if what in ("create", "drop", "suspend", "resume", "reopen"):
                value = getattr(self, f"_{what}")(*given, **named)
            else:
                value = plain(self._operate(what, *given, **named))
        except errors.LlmspellError as raised:
            error = type(raised).__name__
            self._heard.extend(f"{one!r}\n{one.args!r}\n{one.__dict__!r}" for one in chain(raised))
            # Lines of the sources that it came through are ours, and hold nobody's data.
            self._heard.extend(traceback.format_exception_only(raised))
        self._heard.append(repr(value))
        return Reply(error, value, "\n".join(self._heard), self._database.metrics())

    def close(self) -> None:
        logging.getLogger("llmspell").removeHandler(self._log)
        self._database.close()

    def _open(self) -> None:
        self._database = llmspell.open(
            self._data,
            texts=Lines(),
            lock_timeout=60.0,
            on_event=lambda event: self._heard.append(repr(event)),
        )

    def _reopen(self) -> None:
        self._handles.clear()
        self._database.close()
        self._open()

    def _create(self, name: str) -> int:
        quotas = QuotaLimits.unlimited()
        tenant = self._database.create_tenant(TenantConfig(id=name, metric="ip", quotas=quotas))
        self._handles[name, tenant.generation] = tenant
        return tenant.generation

    def _drop(self, name: str) -> None:
        self._heard.append(repr(self._database.drop_tenant(name)))

    def _suspend(self, name: str, reads_stay: bool) -> None:
        self._heard.append(repr(self._database.suspend_tenant(name, reads_stay=reads_stay)))

    def _resume(self, name: str) -> None:
        self._database.resume_tenant(name)

    def _operate(self, what: str, name: str, generation: int, *given: Any, **named: Any) -> Any:
        tenant = self._handles.get((name, generation))
        if tenant is None:
            tenant = self._database.tenant(name)
            if tenant.generation != generation:
                raise errors.TenantNotFound(f"generation {generation} is no more")
            self._handles[name, generation] = tenant
        self._heard.append(repr(tenant))
        if what == "export":
            file = io.BytesIO()
            tenant.export(file)
            return file.getvalue()
        if what == "import_from":
            return tenant.import_from(io.BytesIO(given[0]), **named)
        if what == "ingest":
            return tenant.ingest(Document(*given))
        return getattr(tenant, what)(*given, **named)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error with all that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def plain(value: Any) -> Any:
    """What a call returned, as tuples and lists."""
    if isinstance(value, Record):
        return value.id, value.vector.tobytes(), value.text, value.metadata
    if isinstance(value, Hits):
        return [(hit.id, hit.score, hit.text, hit.metadata) for hit in value]
    if isinstance(value, ScanPage):
        return [plain(record) for record in value.records], value.cursor
    if isinstance(value, list):
        return list(map(plain, value))
    return value if isinstance(value, (bytes, int, str, type(None))) else repr(value)


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(self.format(record))


def serve(line: Connection, data: Path) -> None:
    """Be the hand of another process until it sends None."""
    hand = Hand(data)
    while (asked := line.recv()) is not None:
        what, given, named = asked
        line.send(hand.ask(what, *given, **named))
    hand.close()
