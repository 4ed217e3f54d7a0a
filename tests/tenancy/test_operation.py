"""Work on a tenant's behalf: reserved before, known inside, settled after."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import llmspell
from llmspell import (
    Database,
    Document,
    Operation,
    QuotaLimits,
    Tenant,
    TenantConfig,
    current_operation,
    errors,
)
from llmspell.quota import Quota
from tests.tenancy.texts import Lines

LIMITS = QuotaLimits(
    max_tokens_per_day=1_000, max_cost_per_month=1, max_embeddings_per_day=10, max_vectors=5
)


class Priced(Lines):
    """A model that is paid for: each text costs a token and a hundredth."""

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        operation = current_operation()
        assert operation is not None
        operation.use(tokens=len(texts), cost=0.01 * len(texts))
        return super().embed_query(texts)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", texts=Priced()) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    return db.create_tenant(TenantConfig(id="acme", quotas=LIMITS))


def spent(tenant: Tenant) -> tuple[int, int, int]:
    usage = tenant.usage()
    return usage.tokens.used, usage.embeddings.used, usage.cost.used


def test_reservation_holds_inside_and_the_rest_is_given_back(acme: Tenant) -> None:
    with acme.operation(tokens=600, embeddings=4, cost=0.5) as operation:
        assert spent(acme) == (600, 4, 500_000)
        with pytest.raises(errors.QuotaExceeded, match="max_tokens_per_day"):
            acme.operation(tokens=401).__enter__()
        operation.use(tokens=100)
        operation.use(tokens=20, embeddings=1, cost=0.07)
        assert spent(acme) == (600, 4, 500_000)
    assert spent(acme) == (120, 1, 70_000)


def test_of_what_was_not_reported_all_is_kept(acme: Tenant) -> None:
    with acme.operation(tokens=600, embeddings=4, cost=0.5) as operation:
        operation.use(tokens=0)
    assert spent(acme) == (0, 4, 500_000)


def test_failure_keeps_what_was_reported_and_nothing_else(acme: Tenant) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        acme.operation(tokens=600, embeddings=4, cost=0.5) as operation,
    ):
        operation.use(tokens=10)
        1 / 0  # noqa: B018
    assert spent(acme) == (10, 0, 0)
    assert acme.usage().api_calls.used == 1


def test_use_beyond_the_reservation_is_charged_until_the_limit(acme: Tenant) -> None:
    with acme.operation(tokens=100) as operation:
        operation.use(tokens=150)
        assert spent(acme)[0] == 150
        with pytest.raises(errors.QuotaExceeded) as refusal:
            operation.use(tokens=851)
        assert (refusal.value.used, refusal.value.requested) == (150, 851)
        operation.use(tokens=850)
    assert spent(acme)[0] == 1_000


def test_refused_report_counts_all_that_was_reserved(acme: Tenant) -> None:
    with acme.operation(tokens=400) as operation, pytest.raises(errors.QuotaExceeded):
        operation.use(tokens=1_001)
    assert spent(acme)[0] == 400


def test_refused_report_is_not_charged_later(acme: Tenant) -> None:
    with acme.operation(tokens=10, cost=0.1) as operation:
        for given in ({"tokens": 2_000}, {"cost": 3.0}):
            with pytest.raises(errors.QuotaExceeded):
                operation.use(**given)  # type: ignore[arg-type]
        operation.use(tokens=5, cost=0.25)
    assert spent(acme) == (15, 0, 350_000)


def test_refused_operation_does_nothing_and_charges_nothing(acme: Tenant) -> None:
    before = acme.usage()
    ran = []
    with pytest.raises(errors.QuotaExceeded) as refusal, acme.operation(tokens=10, cost=1.5):
        ran.append(1)
    assert not ran
    assert acme.usage() == before
    error = refusal.value
    assert (error.quota, error.limit, error.used) == ("max_cost_per_month", 1_000_000, 0)
    assert (error.requested, error.retry_after) == (1_500_000, None)


def test_tiny_costs_add_up_and_are_rounded_up_once(acme: Tenant) -> None:
    with acme.operation() as operation:
        for _ in range(25):
            operation.use(cost=1e-7)
    assert spent(acme)[2] == 3


@pytest.mark.parametrize(
    "given",
    [
        {"tokens": -1},
        {"tokens": 1.5},
        {"embeddings": True},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": 1e305},
        {"tokens": 2**63},
        {"cost": "1"},
    ],
)
def test_amount_that_is_none_is_refused(acme: Tenant, given: dict[str, float]) -> None:
    with pytest.raises(errors.InputError, match=next(iter(given))):
        acme.operation(**given).__enter__()  # type: ignore[arg-type]
    what = pytest.raises(errors.InputError, match=next(iter(given)))
    with acme.operation() as operation, what:
        operation.use(**given)  # type: ignore[arg-type]
    with pytest.raises(errors.InputError, match="api_calls"):
        acme.operation(api_calls=0).__enter__()
    assert spent(acme) == (0, 0, 0)


def test_operation_counts_as_the_calls_that_it_is_said_to_be(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits(max_api_calls_per_minute=10)))
    with tenant.operation(api_calls=7):
        pass
    with pytest.raises(errors.QuotaExceeded, match="max_api_calls_per_minute"):
        tenant.operation(api_calls=4).__enter__()


def test_cancelled_task_gives_back(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        async with llmspell.open(tmp_path / "x") as db:
            acme = await db.create_tenant(TenantConfig(id="acme", quotas=LIMITS))
            begun = asyncio.Event()

            async def work() -> None:
                async with acme.operation(tokens=900) as operation:
                    operation.use(tokens=30)
                    begun.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(work())
            await begun.wait()
            during = (await acme.usage()).tokens.used
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return during, (await acme.usage()).tokens.used

    assert asyncio.run(main()) == (900, 30)


def test_ended_operation_takes_no_more_reports(acme: Tenant) -> None:
    with acme.operation(tokens=5) as operation:
        assert operation.is_open
    assert not operation.is_open
    with pytest.raises(errors.ClosedError):
        operation.use(tokens=1)
    with pytest.raises(errors.ClosedError):
        operation.renew()


def test_late_operation_is_charged_all_the_same(acme: Tenant) -> None:
    with acme.operation(tokens=100, lease=0.001) as operation:
        operation.use(tokens=40)
        threading.Event().wait(0.01)
        acme._residence.slot.ledger.sweep()
        assert spent(acme)[0] == 0
        with pytest.raises(errors.ReservationExpired):
            operation.renew()
    assert spent(acme)[0] == 40


def outlast(acme: Tenant) -> None:
    threading.Event().wait(0.01)
    acme._residence.slot.ledger.sweep()


def test_late_operation_is_charged_as_far_as_it_fits(acme: Tenant) -> None:
    with (
        pytest.raises(errors.QuotaExceeded, match="max_tokens"),
        acme.operation(tokens=100, cost=0.5, lease=0.001),
    ):
        outlast(acme)
        acme._residence.slot.charge(Quota.TOKENS, 970)
    assert spent(acme) == (1_000, 0, 500_000)


def test_late_operation_fails_with_its_own_error(acme: Tenant) -> None:
    with pytest.raises(KeyError), acme.operation(tokens=100, lease=0.001) as operation:
        operation.use(tokens=100)
        outlast(acme)
        acme._residence.slot.charge(Quota.TOKENS, 970)
        raise KeyError
    assert spent(acme)[0] == 1_000


def test_late_operation_of_a_tenant_suspended_meanwhile_is_charged(
    db: Database, acme: Tenant
) -> None:
    with acme.operation(tokens=100, lease=0.001):
        outlast(acme)
        db.suspend_tenant("acme")
    assert spent(acme)[0] == 100


def test_late_operation_of_a_tenant_dropped_meanwhile_just_ends(db: Database, acme: Tenant) -> None:
    with acme.operation(tokens=100, lease=0.001):
        outlast(acme)
        db.drop_tenant("acme")


def test_threads_may_report_at_the_same_time(acme: Tenant) -> None:
    def report(operation: Operation[Tenant]) -> None:
        for _ in range(50):
            operation.use(tokens=2)

    with acme.operation(tokens=300) as operation:
        threads = [threading.Thread(target=report, args=(operation,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert spent(acme)[0] == 400


def ended(db: Database, acme: Tenant) -> None:
    acme.close()


def dropped(db: Database, acme: Tenant) -> None:
    db.drop_tenant("acme")


def suspended(db: Database, acme: Tenant) -> None:
    db.suspend_tenant("acme")


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (ended, errors.ClosedError),
        (dropped, errors.TenantNotFound),
        (suspended, errors.TenantSuspended),
    ],
)
def test_tenant_that_is_not_there_has_no_operations(
    db: Database,
    acme: Tenant,
    end: Callable[[Database, Tenant], None],
    error: type[errors.LlmspellError],
) -> None:
    end(db, acme)
    with pytest.raises(error):
        acme.operation(tokens=1).__enter__()
    assert current_operation() is None


def test_tenant_dropped_inside_refuses_more(db: Database, acme: Tenant) -> None:
    with acme.operation(tokens=1) as operation:
        db.drop_tenant("acme")
        operation.use(tokens=1)
        with pytest.raises(errors.TenantNotFound):
            operation.use(tokens=1)


def test_outcome_and_duration_are_in_the_metrics(db: Database, acme: Tenant) -> None:
    with acme.operation():
        pass
    with pytest.raises(errors.QuotaExceeded):
        acme.operation(tokens=2_000).__enter__()
    with pytest.raises(ZeroDivisionError), acme.operation():
        1 / 0  # noqa: B018
    counted = db.instruments.operation
    assert (counted.ok.value, counted.refused.value, counted.failed.value) == (1, 1, 1)
    text = db.metrics()
    assert 'llmspell_operations_total{operation="operation",outcome="refused"} 1.0' in text
    assert 'llmspell_quota_refusals_total{quota="max_tokens_per_day"} 1.0' in text


def test_paid_model_charges_the_tenant_that_ingests_or_searches(acme: Tenant) -> None:
    acme.ingest(Document("a", "one\ntwo"))
    acme.search("three")
    assert spent(acme) == (3, 3, 30_000)
    with acme.operation(tokens=1, cost=0.01) as operation:
        acme.search("four")
        assert current_operation() is operation
    assert spent(acme) == (4, 4, 40_000)


def test_model_that_is_too_dear_is_refused_with_nothing_written(db: Database) -> None:
    quotas = QuotaLimits(max_cost_per_month=0.02)
    tenant = db.create_tenant(TenantConfig(id="poor", quotas=quotas))
    with pytest.raises(errors.QuotaExceeded, match="max_cost_per_month"):
        tenant.ingest(Document("a", "one\ntwo\nthree"))
    assert (tenant.count(), *spent(tenant)) == (0, 0, 0, 0)
    assert current_operation() is None


@pytest.mark.parametrize("lease", ["1", None, True, -1.0, float("nan")])
def test_lease_that_is_none_is_refused(acme: Tenant, lease: Any) -> None:
    with pytest.raises(errors.InputError, match="lease"):
        acme.operation(lease=lease).__enter__()


def test_late_async_operation_of_a_database_closed_meanwhile_keeps_its_own_end(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        db = llmspell.open(tmp_path / "data")
        db.create_tenant(TenantConfig(id="acme"))
        async with db as opened:
            acme = await opened.tenant("acme")
            slot = db.tenant("acme")._residence.slot
            async with acme.operation(tokens=10, lease=0.001):
                await asyncio.sleep(0.05)
                slot.ledger.sweep()
                await opened.close()
            assert slot.usage().tokens.used == 10

    asyncio.run(work())


def test_late_async_operation_is_charged_outside_of_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged_in: list[str] = []
    charge_late = Operation._charge_late

    def noting(self: Operation[Any], *given: Any, **named: Any) -> None:
        charged_in.append(threading.current_thread().name)
        charge_late(self, *given, **named)

    monkeypatch.setattr(Operation, "_charge_late", noting)

    async def work() -> int:
        async with llmspell.open(tmp_path / "late") as db:
            acme = await db.create_tenant(TenantConfig(id="acme"))
            async with acme.operation(tokens=100):
                pass  # in time: nothing is left to charge
            assert charged_in == []
            async with acme.operation(tokens=10, lease=0.001) as operation:
                await asyncio.sleep(0.01)
                with pytest.raises(errors.ReservationExpired):
                    operation._slot.ledger.sweep()
                    operation.renew()
            return (await acme.usage()).tokens.used

    assert asyncio.run(work()) == 110
    assert len(charged_in) == 1 and charged_in[0].startswith("llmspell")
