"""Public operations as calls that take and give plain data; one form for sync and async objects."""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmspell import (
    Document,
    DocumentInfo,
    DocumentPage,
    Hits,
    Ingest,
    Operation,
    QuotaLimits,
    Record,
    Retrieval,
    RunAgent,
    ScanPage,
    Search,
    StateScope,
    TenantConfig,
    TenantInfo,
    current_operation,
    errors,
)
from llmspell.state import StateList, StatePage

Call = Callable[..., Awaitable[Any]]


async def done(value: Any) -> Any:
    """A value, or what is to be awaited for it."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def entered(context: Any) -> AsyncIterator[Any]:
    if hasattr(context, "__aenter__"):
        async with context as inside:
            yield inside
    else:
        with context as inside:
            yield inside


async def call(of: Any, what: str, *given: Any, **named: Any) -> Any:
    """Call a member of a handle or a database, or read it where it is a property."""
    member = getattr(of, what)
    return await done(member(*given, **named) if callable(member) else member)


# --- of a handle


async def _to_bytes(handle: Any, what: str) -> bytes:
    file = io.BytesIO()
    await call(handle, what, file)
    return file.getvalue()


async def _import(handle: Any, raw: bytes, **named: Any) -> Any:
    return await call(handle, "import_from", io.BytesIO(raw), **named)


async def _ingest(handle: Any, *document: Any) -> Any:
    return await call(handle, "ingest", Document(*document), progress=repr)


async def _execute(handle: Any, kind: str, *given: Any, **named: Any) -> Any:
    if kind == "RunAgent":
        operation: Any = RunAgent(_agent, given[0], tokens=2)
    elif kind == "Ingest":
        operation = Ingest(Document(*given))
    else:
        operation = Search(*given, **named)
    return await call(handle, "execute", operation)


def _agent(given: object) -> tuple[Any, ...]:
    operation = current_operation()
    assert operation is not None
    operation.use(tokens=1)
    return (*_said_by(operation), given)


def _said_by(operation: Operation[Any]) -> tuple[Any, ...]:
    return operation.tenant_id, operation.generation, str(operation.scope), repr(operation)


async def _operation(handle: Any, tokens: int) -> tuple[Any, ...]:
    async with entered(handle.operation(tokens=tokens)) as operation:
        assert current_operation() is operation
        assert operation.is_open
        operation.renew(60)
        operation.hold(tokens=tokens).release()
        operation.use(tokens=tokens)
        count = await call(operation.tenant, "count")
    assert not operation.is_open
    return (*_said_by(operation), count)


async def _state(handle: Any, what: str, *given: Any) -> Any:
    found = await call(handle.state, what, *given)
    if isinstance(found, StateList):
        return list(found.values)
    if isinstance(found, StatePage):
        return [(item.key, item.value, item.length) for item in found.items]
    return found


async def _usage(handle: Any) -> tuple[int, int]:
    usage = await call(handle, "usage")
    return usage.vectors.used, usage.documents.used


async def _close(handle: Any) -> str:
    await call(handle, "close")
    try:
        await call(handle, "count")
    except errors.LlmspellError as error:
        return type(error).__name__
    return ""


OF_TENANT: dict[str, Call] = {
    "export": lambda handle: _to_bytes(handle, "export"),
    "snapshot": lambda handle: _to_bytes(handle, "snapshot"),
    "import_from": _import,
    "ingest": _ingest,
    "execute": _execute,
    "operation": _operation,
    "state": _state,
    "usage": _usage,
    "close": _close,
}


# --- of a database


def _config(tenant_id: str, display: str) -> TenantConfig:
    return TenantConfig(id=tenant_id, name=display, metric="ip", quotas=QuotaLimits.unlimited())


async def _create(database: Any, tenant_id: str, display: str) -> Any:
    return await call(database, "create_tenant", _config(tenant_id, display))


async def _create_many(database: Any, *given: tuple[str, str]) -> Any:
    return await call(database, "create_tenants", [_config(*one) for one in given])


async def _scope(database: Any, tenant_id: str) -> Any:
    scope = StateScope.custom(f"tenant:{tenant_id}")
    assert StateScope.parse(str(scope)) == scope == StateScope.tenant(tenant_id)
    assert scope.tenant_id == tenant_id
    return await call(database, "scope", scope)


async def _update(
    database: Any, tenant_id: str, display: str | None = None, limits: dict[str, int] | None = None
) -> Any:
    quotas = None if limits is None else replace(QuotaLimits.unlimited(), **limits)  # type: ignore[arg-type]
    return await call(database, "update_tenant", tenant_id, name=display, quotas=quotas)


async def _snapshot(database: Any, tenant_id: str, target: Path | None) -> bytes | None:
    file = io.BytesIO()
    await call(database, "snapshot_tenant", tenant_id, file if target is None else target)
    return file.getvalue() if target is None else None


async def _restore(database: Any, source: Path | bytes, **named: Any) -> Any:
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    return await call(database, "restore_tenant", opened, **named)


OF_DATABASE: dict[str, Call] = {
    "create_tenant": _create,
    "create_tenants": _create_many,
    "scope": _scope,
    "update_tenant": _update,
    "snapshot_tenant": _snapshot,
    "restore_tenant": _restore,
}


def plain(value: Any) -> Any:
    """What a call returned, as tuples and lists."""
    if isinstance(value, Record):
        return value.id, value.vector.tobytes(), value.text, value.metadata
    if isinstance(value, Hits):
        hits = [(hit.id, hit.score, hit.text, hit.metadata) for hit in value]
        assert [hit[0] for hit in hits] == value.ids
        assert [hit[1] for hit in hits] == value.scores.tolist()
        assert len(hits) == len(value)
        return hits
    if isinstance(value, Retrieval):
        assert value.ids == [hit.id for hit in value.hits]
        assert list(value.scores) == [hit.score for hit in value]
        return [
            (
                *(hit.id, hit.score, hit.text, hit.metadata),
                *(hit.document, hit.chunks, hit.why, hit.terms, hit.start, hit.end),
                *map(
                    repr,
                    (
                        hit.marks and hit.marks.spans,
                        hit.spans,
                        hit.dense,
                        hit.lexical,
                        hit.rerank,
                        value.cursor,
                    ),
                ),
            )
            for hit in value
        ]
    if isinstance(value, ScanPage):
        return [plain(record) for record in value.records], value.cursor
    if isinstance(value, DocumentInfo):
        return value.id, value.version, value.content_hash, value.source, value.metadata
    if isinstance(value, DocumentPage):
        return [plain(info) for info in value.documents], value.cursor
    if isinstance(value, TenantInfo):
        return value.id, value.name, value.generation, value.suspension
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value if isinstance(value, (bytes, int, float, str, type(None))) else repr(value)
