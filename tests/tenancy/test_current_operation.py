"""Which operation code runs in, through nesting, threads and tasks."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import llmspell
from llmspell import Database, StateScope, Tenant, TenantConfig, current_operation


def test_nested_code_knows_the_innermost_operation(db: Database, acme: Tenant) -> None:
    other = db.create_tenant(TenantConfig(id="other"))
    assert current_operation() is None
    with acme.operation() as outer:
        assert current_operation() is outer
        assert outer.tenant is acme
        assert (outer.tenant_id, outer.generation) == ("acme", acme.generation)
        assert outer.scope == StateScope.custom("tenant:acme")
        with other.operation() as inner:
            assert current_operation() is inner
            assert inner.tenant_id == "other"
        assert current_operation() is outer
        with pytest.raises(ZeroDivisionError), other.operation():
            1 / 0  # noqa: B018
        assert current_operation() is outer
    assert current_operation() is None


def test_other_threads_do_not_see_it(acme: Tenant) -> None:
    seen: list[object] = []
    with acme.operation():
        thread = threading.Thread(target=lambda: seen.append(current_operation()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_task_that_outlives_it_sees_the_one_around_it(acme: Tenant) -> None:
    async def main() -> tuple[object, object, object]:
        go = asyncio.Event()

        async def late() -> object:
            await go.wait()
            return current_operation()

        with acme.operation() as outer:
            with acme.operation():
                task = asyncio.create_task(late())
                await asyncio.sleep(0)
            go.set()
            first = await task
            go.clear()
            task = asyncio.create_task(late())
        go.set()
        return first, outer, await task

    first, outer, last = asyncio.run(main())
    assert first is outer
    assert last is None


def test_tasks_beside_each_other_see_their_own(tmp_path: Path) -> None:
    async def main() -> list[tuple[str, str, str]]:
        async with llmspell.open(tmp_path / "x") as db:
            tenants = [await db.create_tenant(TenantConfig(id=name)) for name in "abc"]

            async def work(tenant: llmspell.AsyncTenant) -> tuple[str, str, str]:
                async with tenant.operation() as operation:
                    assert operation.tenant is tenant
                    await asyncio.sleep(0.01)
                    inside = current_operation()
                    threaded = await asyncio.to_thread(current_operation)
                    assert inside is threaded is operation
                    return tenant.id, inside.tenant_id, operation.scope.name

            found = await asyncio.gather(*map(work, tenants))
            assert current_operation() is None
            return found

    assert asyncio.run(main()) == [(name, name, f"tenant:{name}") for name in "abc"]
