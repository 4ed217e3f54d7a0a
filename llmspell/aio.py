"""The async form of a database: the same operations, run in worker threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llmspell.tenancy import AsyncTenant, DropReceipt, TenantInfo, Workers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmspell.config import QuotaLimits, TenantConfig
    from llmspell.database import Database

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

    async def metrics(self) -> str:
        """As :meth:`Database.metrics`."""
        return await self._workers.run(self._database.metrics)

    async def close(self) -> None:
        """Let the calls under way end, then close the database."""
        await self._workers.close(self._database.close)
