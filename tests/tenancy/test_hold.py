"""What steps of an operation set aside, settle and give back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import QuotaLimits, TenantConfig, errors
from tests.collected import ended_within

LIMIT = 1_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[llmspell.Database]:
    with llmspell.open(tmp_path_factory.mktemp("holds")) as database:
        yield database


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[llmspell.Tenant]:
    quotas = QuotaLimits(max_tokens_per_day=LIMIT, max_cost_per_month=1.0)
    with llmspell.open(tmp_path) as database:
        yield database.create_tenant(TenantConfig(id="acme", quotas=quotas))


def used(tenant: llmspell.Tenant) -> int:
    return tenant.usage().tokens.used


def test_what_is_held_is_settled_with_what_was_used(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=100) as operation:
        hold = operation.hold(tokens=60)
        hold.settle(tokens=10)
        operation.hold(tokens=90).settle(tokens=90)
    assert used(tenant) == 100


def test_what_goes_beyond_the_reservation_is_reserved_and_given_back(
    tenant: llmspell.Tenant,
) -> None:
    with tenant.operation(tokens=100) as operation:
        hold = operation.hold(tokens=700, cost=0.5)
        assert used(tenant) == 700
        hold.settle(tokens=150, cost=0.25)
    usage = tenant.usage()
    assert (usage.tokens.used, usage.cost.used) == (150, 250_000)


def test_more_than_the_quota_has_is_refused_and_nothing_is_held(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=100) as operation:
        with pytest.raises(errors.QuotaExceeded):
            operation.hold(tokens=LIMIT + 1)
        operation.hold(tokens=LIMIT).release()
        operation.use(tokens=100)
    assert used(tenant) == 100


def test_steps_side_by_side_never_use_what_another_holds(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=LIMIT) as operation:
        first = operation.hold(tokens=600)
        with pytest.raises(errors.QuotaExceeded):
            operation.hold(tokens=600)
        with pytest.raises(errors.QuotaExceeded):
            operation.use(tokens=500)
        first.settle(tokens=600)
    assert used(tenant) == LIMIT


def test_a_hold_is_settled_once_and_inside_of_its_operation(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=10) as operation:
        done = operation.hold(tokens=5)
        done.settle()
        done.release()
        with pytest.raises(errors.ClosedError):
            done.settle()
        late = operation.hold(tokens=5)
    with pytest.raises(errors.ClosedError):
        late.settle()
    with pytest.raises(errors.ClosedError):
        operation.hold(tokens=1)


def test_what_is_still_held_at_the_end_is_given_back(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=100) as operation:
        operation.use(tokens=30)
        left = operation.hold(tokens=600, cost=0.5)
    assert (used(tenant), tenant.usage().cost.used) == (30, 0)
    left.release()  # by a step that outlives its operation
    with pytest.raises(errors.ClosedError):
        left.settle(tokens=1)
    assert used(tenant) == 30


def test_what_was_begun_and_never_settled_counts_in_full(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=100, cost=0.1) as operation:
        operation.use(tokens=30, cost=0.0)
        within, beyond = operation.hold(tokens=50), operation.hold(tokens=120, cost=0.25)
        within.begin()
        beyond.begin()
    usage = tenant.usage()
    assert (usage.tokens.used, usage.cost.used) == (200, 250_000)
    beyond.release()
    with pytest.raises(errors.ClosedError):
        within.begin()
    assert used(tenant) == 200


def test_what_was_begun_counts_though_its_lease_has_passed(tenant: llmspell.Tenant) -> None:
    with tenant.operation(lease=0.001) as operation:
        operation.hold(tokens=300).begin()
        threading.Event().wait(0.01)
        tenant._residence.slot.ledger.sweep()
        assert used(tenant) == 0
    assert used(tenant) == 300


def test_what_was_used_beyond_a_hold_counts_as_far_as_it_fits(tenant: llmspell.Tenant) -> None:
    with tenant.operation() as operation:
        hold = operation.hold(tokens=100, cost=0.1)
        with pytest.raises(errors.QuotaExceeded):
            hold.settle(tokens=LIMIT + 1, cost=0.5)
    assert (used(tenant), tenant.usage().cost.used) == (LIMIT, 500_000)


def test_what_is_reported_afterwards_counts_as_far_as_it_fits(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=100) as operation:
        with pytest.raises(errors.QuotaExceeded):
            operation.use(tokens=LIMIT + 1)
        assert used(tenant) == 100
        with pytest.raises(errors.QuotaExceeded):
            operation.use(tokens=LIMIT + 1, cost=0.25, already=True)
    assert (used(tenant), tenant.usage().cost.used) == (LIMIT, 250_000)


def test_an_operation_that_ends_while_a_step_is_reserving_gives_it_back(
    tenant: llmspell.Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        operation = stack.enter_context(tenant.operation(tokens=0))
        reserve = operation._slot.reserve

        class Slot:
            """The slot, whose answer comes when the operation has ended."""

            def reserve(self, **given: Any) -> Any:
                reservation = reserve(**given)
                stack.close()
                return reservation

        monkeypatch.setattr(operation, "_slot", Slot())
        with pytest.raises(errors.ClosedError, match="has ended"):
            operation.hold(tokens=500)
    assert used(tenant) == 0


def test_threads_that_hold_together_stay_within_the_quota(tenant: llmspell.Tenant) -> None:
    with tenant.operation(tokens=200) as operation, ThreadPoolExecutor(8) as pool:

        def step(number: int) -> int:
            try:
                hold = operation.hold(tokens=90)
            except errors.QuotaExceeded:
                return 0
            assert used(tenant) <= LIMIT
            hold.settle(tokens=number)
            return number

        spent = sum(pool.map(step, range(40)))
    assert used(tenant) == spent <= LIMIT


_steps = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 150), st.booleans()), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(reserved=st.integers(0, 200), steps=_steps, overlap=st.integers(1, 3))
def test_what_counts_at_the_end_is_what_was_settled(
    database: llmspell.Database, reserved: int, steps: list[tuple[int, int, bool]], overlap: int
) -> None:
    config = TenantConfig(id="one", quotas=QuotaLimits(max_tokens_per_day=5_000))
    with closing(database.create_tenant(config)) as tenant:
        spent = 0
        with tenant.operation(tokens=reserved) as operation:
            operation.use(tokens=0)
            open_holds: list[tuple[llmspell.Hold, int]] = []
            for held, took, is_released in steps:
                open_holds.append((operation.hold(tokens=held), 0 if is_released else took))
                if len(open_holds) == overlap:
                    hold, amount = open_holds.pop(0)
                    hold.settle(tokens=amount)
                    spent += amount
            for hold, amount in open_holds:
                hold.settle(tokens=amount)
                spent += amount
        total = used(tenant)
    database.drop_tenant("one")
    assert total == spent


def test_step_that_ends_at_any_moment_of_another_report_is_counted(
    database: llmspell.Database,
) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=None)
    tenant = database.create_tenant(TenantConfig(id="moments", quotas=quotas))

    def is_within(moment: int) -> bool:
        before = tenant.usage()
        with tenant.operation(tokens=5, cost=0.5) as operation:
            step = operation.hold(tokens=3, cost=0.25)

            def end() -> None:
                step.settle(tokens=2, cost=0.125)

            is_there = ended_within(
                lambda: operation.use(tokens=4, cost=0.5, already=True), end, moment
            )
            if not is_there:
                end()
        usage = tenant.usage()
        assert usage.tokens.used - before.tokens.used == 6, moment
        assert usage.cost.used - before.cost.used == 625_000, moment
        return is_there

    with closing(tenant):
        assert sum(1 for _ in itertools.takewhile(is_within, itertools.count())) > 20
