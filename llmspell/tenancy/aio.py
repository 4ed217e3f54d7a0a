"""The async handle to a tenant: the same operations, run in worker threads."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any, BinaryIO, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell.config import TenantConfig
from llmspell.index import CancelToken
from llmspell.quota import Usage
from llmspell.state import AsyncState
from llmspell.tenancy.current import begin_async
from llmspell.tenancy.documents import DocumentInfo, DocumentPage, IngestReport, Progress
from llmspell.tenancy.execute import Ingest, RunAgent, Search, TenantOperation, execute_async
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.import_plan import OnConflict
from llmspell.tenancy.model import (
    ExportReport,
    ImportReport,
    Metadata,
    Record,
    RecordId,
    ScanPage,
    SnapshotReport,
)
from llmspell.tenancy.operation import OPERATION_LEASE_S, Allowance, Operation
from llmspell.tenancy.ports import IngestSource
from llmspell.tenancy.retrieve_calls import AsyncRetrieveCalls
from llmspell.tenancy.retrieving import Retrieve
from llmspell.tenancy.scrub_report import OnScrub, ScrubReport
from llmspell.tenancy.searching import Consistency
from llmspell.tenancy.tenant import Tenant
from llmspell.tenancy.workers import Workers

__all__ = ["AsyncTenant"]

_R = TypeVar("_R")


class AsyncTenant(AsyncRetrieveCalls):
    """The awaitable form of :class:`llmspell.Tenant`; see there for arguments and errors."""

    __slots__ = ("_tenant", "_workers")

    def __init__(self, tenant: Tenant, workers: Workers) -> None:
        self._tenant = tenant
        self._workers = workers

    def __repr__(self) -> str:
        return f"AsyncTenant(id={self.id!r})"

    @property
    def id(self) -> str:
        """Id of the tenant."""
        return self._tenant.id

    @property
    def config(self) -> TenantConfig:
        """What the tenant was created with."""
        return self._tenant.config

    @property
    def generation(self) -> int:
        """Tells it from former tenants of the same id."""
        return self._tenant.generation

    async def dim(self) -> int | None:
        """As :attr:`Tenant.dim`; a method, because it may open the room."""
        return await self._workers.run(lambda: self._tenant.dim)

    async def upsert(
        self,
        ids: RecordId | Sequence[RecordId] | NDArray[np.integer[Any]],
        vectors: ArrayLike,
        metadata: Metadata | Sequence[Metadata | None] | None = None,
        texts: str | Sequence[str | None] | None = None,
        *,
        ttl: float | timedelta | None = None,
    ) -> None:
        """As :meth:`Tenant.upsert`."""
        await self._workers.run(self._tenant.upsert, ids, vectors, metadata, texts, ttl=ttl)

    async def insert(
        self,
        ids: RecordId | Sequence[RecordId] | NDArray[np.integer[Any]],
        vectors: ArrayLike,
        metadata: Metadata | Sequence[Metadata | None] | None = None,
        texts: str | Sequence[str | None] | None = None,
        *,
        ttl: float | timedelta | None = None,
    ) -> None:
        """As :meth:`Tenant.insert`."""
        await self._workers.run(self._tenant.insert, ids, vectors, metadata, texts, ttl=ttl)

    async def update_metadata(
        self,
        ids: RecordId | Sequence[RecordId],
        metadata: Metadata | Sequence[Metadata],
        *,
        replace: bool = False,
    ) -> None:
        """As :meth:`Tenant.update_metadata`."""
        await self._workers.run(self._tenant.update_metadata, ids, metadata, replace=replace)

    @overload
    async def get(self, ids: RecordId) -> Record: ...  # type: ignore[overload-overlap]
    @overload
    async def get(self, ids: Sequence[RecordId], *, missing_ok: bool = False) -> list[Record]: ...
    async def get(
        self, ids: RecordId | Sequence[RecordId], *, missing_ok: bool = False
    ) -> Record | list[Record]:
        """As :meth:`Tenant.get`."""
        call: Callable[..., Record | list[Record]] = self._tenant.get
        return await self._workers.run(partial(call, ids, missing_ok=missing_ok))

    async def document(self, document_id: str) -> DocumentInfo:
        """As :meth:`Tenant.document`."""
        return await self._workers.run(self._tenant.document, document_id)

    async def documents(self, *, cursor: str | None = None, limit: int = 1_000) -> DocumentPage:
        """As :meth:`Tenant.documents`."""
        return await self._workers.run(self._tenant.documents, cursor=cursor, limit=limit)

    async def chunks(
        self, document_id: str, *, vectors: bool = False, max_chars: int | None = None
    ) -> list[Record]:
        """As :meth:`Tenant.chunks`."""
        return await self._workers.run(
            self._tenant.chunks, document_id, vectors=vectors, max_chars=max_chars
        )

    async def delete(
        self,
        ids: RecordId | Sequence[RecordId] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,
    ) -> int:
        """As :meth:`Tenant.delete`."""
        return await self._workers.run(self._tenant.delete, ids, filter=filter)

    @overload
    async def search(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Hits: ...
    @overload
    async def search(
        self,
        query: ArrayLike | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any: ...
    async def search(
        self,
        query: str | ArrayLike | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any:
        """As :meth:`Tenant.search`; hits are read before it returns."""
        call = partial(
            self._tenant.search,
            query,
            k,
            filter=filter,
            threshold=threshold,
            ef_search=ef_search,
            recall=recall,
            consistency=consistency,
        )

        def search() -> Any:
            found = call()
            if isinstance(found, Hits):
                found.look()
            return found

        return await self._workers.run(search)

    async def _retrieve(self, asked: Retrieve) -> Any:
        return await self._workers.run(self._tenant._retrieve, asked)

    async def calibrate(self, k: int = 10, *, recall: float = 0.99) -> None:
        """As :meth:`Tenant.calibrate`."""
        await self._workers.run(self._tenant.calibrate, k, recall=recall)

    async def estimated_recall(self, k: int = 10, *, ef_search: int | None = None) -> float | None:
        """As :meth:`Tenant.estimated_recall`."""
        return await self._workers.run(self._tenant.estimated_recall, k, ef_search=ef_search)

    async def ingest(
        self,
        source: IngestSource,
        *,
        progress: Progress | bool | None = None,
        change_model: bool = False,
    ) -> IngestReport:
        """As :meth:`Tenant.ingest`; ``progress`` is called in a worker thread."""
        return await self._workers.run(
            self._tenant.ingest, source, progress=progress, change_model=change_model
        )

    async def scan(
        self,
        *,
        filter: Mapping[str, Any] | None = None,
        cursor: str | None = None,
        limit: int = 1_000,
        vectors: bool = True,
    ) -> ScanPage:
        """As :meth:`Tenant.scan`."""
        return await self._workers.run(
            self._tenant.scan, filter=filter, cursor=cursor, limit=limit, vectors=vectors
        )

    async def export(self, file: str | os.PathLike[str] | BinaryIO) -> ExportReport:
        """As :meth:`Tenant.export`; the file is written in a worker thread."""
        return await self._workers.run(self._tenant.export, file)

    async def snapshot(self, target: str | os.PathLike[str] | BinaryIO) -> SnapshotReport:
        """As :meth:`Tenant.snapshot`; it is written in a worker thread."""
        return await self._workers.run(self._tenant.snapshot, target)

    async def scrub(
        self,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> ScrubReport:
        """As :meth:`Tenant.scrub`, in a worker thread, where ``progress`` is called too.

        It stops as well where its caller is cancelled or the database is closed.
        """
        from llmspell.tenancy.scrubbing import scrub_options

        return await self._workers.run_stoppable(
            lambda stop: self._tenant._scrub(scrub_options(rate, repair, progress, cancel, stop))
        )

    async def import_from(
        self, file: str | os.PathLike[str] | BinaryIO, *, on_conflict: OnConflict = "error"
    ) -> ImportReport:
        """As :meth:`Tenant.import_from`; the file is read in a worker thread."""
        return await self._workers.run(self._tenant.import_from, file, on_conflict=on_conflict)

    async def count(self) -> int:
        """As :meth:`Tenant.count`."""
        return await self._workers.run(self._tenant.count)

    @property
    def state(self) -> AsyncState:
        """As :attr:`Tenant.state`, with calls to await."""
        return AsyncState(self._tenant.state, self._workers.run)

    def operation(
        self,
        *,
        tokens: int = 0,
        embeddings: int = 0,
        cost: float = 0.0,
        api_calls: int = 1,
        lease: float = OPERATION_LEASE_S,
    ) -> AbstractAsyncContextManager[Operation[AsyncTenant]]:
        """As :meth:`Tenant.operation`, in an ``async with``."""
        allowance = Allowance(tokens, embeddings, cost, api_calls, lease)
        return begin_async(self, allowance, self._tenant._instruments.operation)

    @overload
    async def execute(self, operation: Ingest) -> IngestReport: ...
    @overload
    async def execute(self, operation: RunAgent[Awaitable[_R]]) -> _R: ...
    @overload
    async def execute(self, operation: RunAgent[_R]) -> _R: ...
    @overload
    async def execute(self, operation: Search | Retrieve) -> Any: ...
    async def execute(self, operation: TenantOperation) -> Any:
        """As :meth:`Tenant.execute`; an async agent is awaited, another runs in a worker thread."""
        return await execute_async(self, operation)

    async def flush(self) -> None:
        """As :meth:`Tenant.flush`."""
        await self._workers.run(self._tenant.flush)

    async def usage(self) -> Usage:
        """As :meth:`Tenant.usage`."""
        return await self._workers.run(self._tenant.usage)

    async def close(self) -> None:
        """As :meth:`Tenant.close`."""
        await self._workers.run(self._tenant.close)
