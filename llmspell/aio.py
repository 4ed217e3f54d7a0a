"""The async form of a database: the same operations, run in worker threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from llmspell.tenancy import (
    AsyncTenant,
    DatabaseScrubReport,
    DropReceipt,
    OnScrub,
    ScrubReport,
    SnapshotReport,
    StateScope,
    TenantInfo,
    Workers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmspell.config import QuotaLimits, TenantConfig
    from llmspell.database import Database
    from llmspell.index import CancelToken

__all__ = ["AsyncDatabase"]

#: Calls under way at one time; more of them wait in line. Commits wait for the disk, not the CPU.
MAX_THREADS: Final = min(32, 4 + 2 * (os.cpu_count() or 1))


class AsyncDatabase:
    """The awaitable form of :class:`llmspell.Database`; see there for arguments and errors.

    ``async with llmspell.open(path) as db`` gives one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._workers = Workers(MAX_THREADS)

    def __repr__(self) -> str:
        return f"AsyncDatabase({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The data directory."""
        return self._database.path

    async def create_tenant(self, config: TenantConfig) -> AsyncTenant:
        """As :meth:`Database.create_tenant`."""
        tenant = await self._workers.run(self._database.create_tenant, config)
        return AsyncTenant(tenant, self._workers)

    async def create_tenants(self, configs: Iterable[TenantConfig]) -> list[TenantInfo]:
        """As :meth:`Database.create_tenants`."""
        return await self._workers.run(self._database.create_tenants, configs)

    async def tenant(self, tenant_id: str) -> AsyncTenant:
        """As :meth:`Database.tenant`."""
        tenant = await self._workers.run(self._database.tenant, tenant_id)
        return AsyncTenant(tenant, self._workers)

    async def scope(self, scope: StateScope) -> AsyncTenant:
        """As :meth:`Database.scope`."""
        tenant = await self._workers.run(self._database.scope, scope)
        return AsyncTenant(tenant, self._workers)

    async def tenants(
        self, *, after: str | None = None, limit: int | None = None
    ) -> list[TenantInfo]:
        """As :meth:`Database.tenants`."""
        return await self._workers.run(self._database.tenants, after=after, limit=limit)

    async def update_tenant(
        self, tenant_id: str, *, name: str | None = None, quotas: QuotaLimits | None = None
    ) -> TenantInfo:
        """As :meth:`Database.update_tenant`."""
        update = self._database.update_tenant
        return await self._workers.run(update, tenant_id, name=name, quotas=quotas)

    async def suspend_tenant(self, tenant_id: str, *, reads_stay: bool = False) -> TenantInfo:
        """As :meth:`Database.suspend_tenant`."""
        suspend = self._database.suspend_tenant
        return await self._workers.run(suspend, tenant_id, reads_stay=reads_stay)

    async def resume_tenant(self, tenant_id: str) -> TenantInfo:
        """As :meth:`Database.resume_tenant`."""
        return await self._workers.run(self._database.resume_tenant, tenant_id)

    async def drop_tenant(self, tenant_id: str) -> DropReceipt:
        """As :meth:`Database.drop_tenant`."""
        return await self._workers.run(self._database.drop_tenant, tenant_id)

    async def snapshot_tenant(
        self, tenant_id: str, target: str | os.PathLike[str] | BinaryIO
    ) -> SnapshotReport:
        """As :meth:`Database.snapshot_tenant`; it is written in a worker thread."""
        return await self._workers.run(self._database.snapshot_tenant, tenant_id, target)

    async def restore_tenant(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        tenant_id: str | None = None,
        replace: bool = False,
        name: str | None = None,
        quotas: QuotaLimits | None = None,
    ) -> AsyncTenant:
        """As :meth:`Database.restore_tenant`; it is read in a worker thread."""
        tenant = await self._workers.run(
            self._database.restore_tenant,
            source,
            tenant_id=tenant_id,
            replace=replace,
            name=name,
            quotas=quotas,
        )
        return AsyncTenant(tenant, self._workers)

    async def clone_tenant(
        self,
        source_id: str,
        tenant_id: str,
        *,
        name: str | None = None,
        quotas: QuotaLimits | None = None,
    ) -> AsyncTenant:
        """As :meth:`Database.clone_tenant`."""
        clone = self._database.clone_tenant
        tenant = await self._workers.run(clone, source_id, tenant_id, name=name, quotas=quotas)
        return AsyncTenant(tenant, self._workers)

    async def scrub(
        self,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> DatabaseScrubReport:
        """As :meth:`Database.scrub`, in a worker thread, where ``progress`` is called too.

        It stops as well where its caller is cancelled or the database is closed.
        """
        from llmspell.tenancy.scrubbing import scrub_options

        return await self._workers.run_stoppable(
            lambda stop: self._database._scrub(scrub_options(rate, repair, progress, cancel, stop))
        )

    async def scrub_tenant(
        self,
        tenant_id: str,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> ScrubReport:
        """As :meth:`Database.scrub_tenant`, and stops as :meth:`scrub` does."""
        from llmspell.tenancy.scrubbing import scrub_options

        return await self._workers.run_stoppable(
            lambda stop: self._database._scrub_tenant(
                tenant_id, scrub_options(rate, repair, progress, cancel, stop)
            )
        )

    async def purge_expired(self) -> int:
        """As :meth:`Database.purge_expired`."""
        return await self._workers.run(self._database.purge_expired)

    async def flush(self) -> None:
        """As :meth:`Database.flush`."""
        await self._workers.run(self._database.flush)

    async def metrics(self) -> str:
        """As :meth:`Database.metrics`."""
        return await self._workers.run(self._database.metrics)

    async def close(self) -> None:
        """Let the calls under way end, then close the database."""
        await self._workers.close(self._database.close)
