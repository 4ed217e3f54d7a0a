"""Operations as objects, through both handles."""

from __future__ import annotations

import asyncio
import functools
import threading
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import (
    Database,
    Document,
    Ingest,
    QuotaLimits,
    RunAgent,
    Search,
    Tenant,
    TenantConfig,
    current_operation,
    errors,
)
from tests.tenancy.texts import Lines

QUOTAS = QuotaLimits(max_tokens_per_day=100, max_api_calls_per_minute=None)


@pytest.fixture
def acme(db: Database) -> Tenant:
    return db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))


class Agent:
    """Counts the letters of its input as tokens."""

    def __call__(self, question: str) -> str:
        operation = current_operation()
        assert operation is not None
        operation.use(tokens=len(question))
        return f"{operation.tenant_id}: {question}"


class AsyncAgent:
    async def __call__(self, question: str) -> str:
        await asyncio.sleep(0)
        return Agent()(question)


def test_ingest_and_search_are_the_calls_that_they_stand_for(acme: Tenant) -> None:
    seen: list[object] = []
    report = acme.execute(Ingest(Document("a", "one\ntwo", {"n": 1}), progress=seen.append))
    assert (report.added, report.chunks, len(seen)) == (1, 2, 1)
    hits = acme.execute(Search("two", k=1, filter={"n": 1}))
    assert hits[0].text == "two"
    assert len(acme.execute(Search(np.ones((3, 16), np.float32), k=1))) == 3
    assert acme.execute(Search("two", threshold=2.0)) == []
    assert acme.usage().embeddings.used == 4


def test_agent_runs_within_the_tenant_and_pays_what_it_used(db: Database, acme: Tenant) -> None:
    assert acme.execute(RunAgent(Agent(), "hello", tokens=50)) == "acme: hello"
    assert acme.usage().tokens.used == 5
    assert db.instruments.run_agent.ok.value == 1
    assert current_operation() is None


def test_agent_beyond_its_quota_is_not_started(acme: Tenant) -> None:
    ran: list[str] = []
    with pytest.raises(errors.QuotaExceeded, match="max_tokens_per_day"):
        acme.execute(RunAgent(ran.append, "x", tokens=101))
    assert ran == []
    assert acme.usage().tokens.used == 0


@pytest.mark.parametrize("agent", [AsyncAgent(), AsyncAgent().__call__, lambda q: AsyncAgent()(q)])
def test_async_agent_is_refused_by_the_sync_handle(acme: Tenant, agent: object) -> None:
    with pytest.raises(errors.InputError, match="AsyncTenant"):
        acme.execute(RunAgent(agent, "x", tokens=3))  # type: ignore[arg-type]
    assert acme.usage().tokens.used == 0


def test_what_is_no_operation_is_refused(acme: Tenant) -> None:
    with pytest.raises(errors.InputError, match="got dict"):
        acme.execute({"search": "x"})  # type: ignore[call-overload]


def test_async_handle_executes_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path / "x", texts=Lines()) as db:
            acme = await db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
            report = await acme.execute(Ingest(Document("a", "one\ntwo")))
            assert report.chunks == 2
            assert (await acme.execute(Search("two", k=1)))[0].text == "two"
            partial = functools.partial(AsyncAgent.__call__, AsyncAgent())
            for agent in (Agent(), AsyncAgent(), partial, lambda q: AsyncAgent()(q)):
                assert await acme.execute(RunAgent(agent, "hi", tokens=9)) == "acme: hi"
            assert (await acme.usage()).tokens.used == 8
            with pytest.raises(errors.QuotaExceeded):
                await acme.execute(RunAgent(Agent(), "hi", tokens=99))
            with pytest.raises(errors.InputError, match="got str"):
                await acme.execute("search")  # type: ignore[call-overload]

            async def fails(_: str) -> str:
                raise ValueError("no answer")

            with pytest.raises(ValueError, match="no answer"):
                await acme.execute(RunAgent(fails, "hi", tokens=50))
            assert (await acme.usage()).tokens.used == 8

    asyncio.run(main())


def test_sync_agent_leaves_the_event_loop_free(tmp_path: Path) -> None:
    async def main() -> tuple[int, bool]:
        async with llmspell.open(tmp_path / "x") as db:
            acme = await db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
            gate = threading.Event()

            def agent(_: str) -> tuple[int, bool]:
                return threading.get_ident(), gate.wait(timeout=60)

            task = asyncio.create_task(acme.execute(RunAgent(agent, "x")))
            await asyncio.sleep(0)
            gate.set()
            return await task

    thread, opened = asyncio.run(main())
    assert opened
    assert thread != threading.get_ident()
