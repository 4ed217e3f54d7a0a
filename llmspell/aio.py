"""The async form of a database: the same operations, run in worker threads."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from llmspell.tenancy import AsyncTenant, TenantInfo
from llmspell.tenancy.aio import run_in

if TYPE_CHECKING:
    from llmspell.config import TenantConfig
    from llmspell.database import Database

__all__ = ["AsyncDatabase"]

#: Calls under way at one time; more of them wait in line. Commits wait for the disk, not the CPU.
MAX_THREADS: Final = min(32, 4 + 2 * (os.cpu_count() or 1))


class AsyncDatabase:
    """The awaitable form of :class:`llmspell.Database`; see there for arguments and errors.

    ``async with llmspell.open(path) as db`` gives one.
    """

    def __init__(self, database: Database) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._database = database
        self._executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="llmspell")

    def __repr__(self) -> str:
        return f"AsyncDatabase({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The data directory."""
        return self._database.path

    async def create_tenant(self, config: TenantConfig) -> AsyncTenant:
        """As :meth:`Database.create_tenant`."""
        tenant = await run_in(self._executor, self._database.create_tenant, config)
        return AsyncTenant(tenant, self._executor)

    async def tenant(self, tenant_id: str) -> AsyncTenant:
        """As :meth:`Database.tenant`."""
        tenant = await run_in(self._executor, self._database.tenant, tenant_id)
        return AsyncTenant(tenant, self._executor)

    async def tenants(self) -> list[TenantInfo]:
        """As :meth:`Database.tenants`."""
        return await run_in(self._executor, self._database.tenants)

    async def drop_tenant(self, tenant_id: str) -> None:
        """As :meth:`Database.drop_tenant`."""
        await run_in(self._executor, self._database.drop_tenant, tenant_id)

    async def metrics(self) -> str:
        """As :meth:`Database.metrics`."""
        return await run_in(self._executor, self._database.metrics)

    async def close(self) -> None:
        """Let the calls under way end, then close the database."""
        import asyncio

        # In a thread that isn't the executor's own, which it waits for.
        await asyncio.to_thread(self._executor.shutdown)
        await asyncio.to_thread(self._database.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
