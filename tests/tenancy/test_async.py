"""The async forms: the same names, awaitable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Document, QuotaLimits, TenantConfig, errors
from tests.tenancy.texts import Lines

VECTORS = np.random.default_rng(1).standard_normal((20, 16)).astype(np.float32)


def test_async_database_does_what_the_database_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path / "data", texts=Lines()) as db:
            acme = await db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
            await acme.upsert(range(20), VECTORS, [{"n": i} for i in range(20)])
            assert await acme.count() == 20
            assert (await acme.get(3)).metadata == {"n": 3}
            assert [r.id for r in await acme.get([1, 2])] == [1, 2]
            hits = await acme.search(VECTORS[5], k=2, filter={"n": {"$lt": 10}})
            assert hits[0].id == 5
            assert await acme.delete([5]) == 1
            report = await acme.ingest(Document("doc", "one\ntwo"))
            assert (report.added, report.chunks) == (1, 2)
            assert (await acme.search("two", k=1))[0].text == "two"
            assert (await acme.usage()).vectors.used == 21
            assert await acme.dim() == 16
            assert [info.id for info in await db.tenants()] == ["acme"]
            assert "llmspell_operations_total" in await db.metrics()
            again = await db.tenant("acme")
            await acme.close()
            with pytest.raises(errors.ClosedError):
                await acme.count()
            assert await again.count() == 21
            await db.drop_tenant("acme")
            with pytest.raises(errors.TenantNotFound):
                await again.count()

    asyncio.run(main())
    with llmspell.open(tmp_path / "data") as db:
        assert db.tenants() == []


def test_many_calls_run_beside_each_other(tmp_path: Path) -> None:
    async def main() -> list[int]:
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
            await asyncio.gather(*(acme.upsert([i], VECTORS[i : i + 1]) for i in range(20)))
            found = await asyncio.gather(*(acme.search(v, k=1) for v in VECTORS))
            return [hits[0].id for hits in found]

    assert asyncio.run(main()) == list(range(20))


def test_event_loop_goes_on_while_a_call_waits(tmp_path: Path) -> None:
    async def main() -> int:
        ticks = 0
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
            matrix = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
            call = asyncio.ensure_future(acme.upsert(range(3000), matrix))
            while not call.done():
                await asyncio.sleep(0)
                ticks += 1
        return ticks

    assert asyncio.run(main()) > 1


def test_closed_async_database_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(TenantConfig(id="a"))
        for call in (acme.count, db.tenants):
            with pytest.raises(errors.ClosedError):
                await call()

    asyncio.run(main())


def test_records_are_scanned_exported_and_imported(tmp_path: Path) -> None:
    async def main() -> list[object]:
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
            copy = await db.create_tenant(TenantConfig(id="b", quotas=QuotaLimits.unlimited()))
            await acme.upsert(range(5), VECTORS[:5])
            report = await acme.export(tmp_path / "file")
            assert (await copy.import_from(tmp_path / "file")).bytes == report.bytes
            page = await copy.scan(limit=3)
            following = await copy.scan(cursor=page.cursor)
            return [record.id for record in [*page.records, *following.records]]

    assert asyncio.run(main()) == list(range(5))


def test_cancelled_close_closes_nevertheless(tmp_path: Path) -> None:
    async def main() -> None:
        db = await llmspell.open(tmp_path / "data").__aenter__()
        acme = await db.create_tenant(TenantConfig(id="acme"))
        await acme.upsert([1], VECTORS[:1])
        closing = asyncio.create_task(db.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with llmspell.open(tmp_path / "data") as again:
            assert again.tenant("acme").count() == 1

    asyncio.run(main())
