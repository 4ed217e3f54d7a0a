"""Call quotas that are counted in the tenant's state, for all processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from llmspell.errors import ConfigError, QuotaExceeded
from llmspell.state import NOTHING
from llmspell.tools import CallQuota, FaultKind, ToolCall, ToolPolicy, ToolRegistry, tool
from llmspell.tools import leases as leases_module
from llmspell.tools import shared_calls as module
from llmspell.tools.approval import ApprovalPending
from llmspell.tools.leases import Leases

ROOT = Path(__file__).parents[2]
HOUR = CallQuota(calls=5, seconds=3_600, shared=True)


@tool(trusted=True)
def small() -> int:
    """Do a little."""
    return 1


@tool(trusted=True)
def other() -> int:
    """Do something else."""
    return 2


@pytest.fixture
def mine() -> Iterator[ToolRegistry]:
    with ToolRegistry([small, other]) as made:
        yield made


@pytest.fixture
def acme(database: Database) -> Tenant:
    return database.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))


PROGRAM = """
import sys
import llmspell
from tests.tools.test_shared_calls import HOUR, small
from llmspell.tools import ToolPolicy, ToolRegistry
with llmspell.open(sys.argv[1]) as db, ToolRegistry([small]) as registry:
    tools = registry.bind(db.tenant("acme"), policy=ToolPolicy(quotas={"small": HOUR}))
    print(sum(tools.call("small", {}).is_ok for _ in range(3)))
"""


def test_calls_of_all_processes_are_counted_together(
    mine: ToolRegistry, acme: Tenant, database: Database
) -> None:
    tools = mine.bind(acme, policy=ToolPolicy(quotas={"small": HOUR}))
    given = [sys.executable, "-c", PROGRAM, str(database.path)]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
    results = [tools.call("small", {}) for _ in range(3)]
    assert [result.is_ok for result in results] == [True, True, False]
    fault = results[-1].fault
    assert fault is not None
    assert (fault.kind, fault.message) == (
        FaultKind.CALL_LIMIT,
        "the tenant has used its calls of this tool",
    )
    assert 3_500 < (fault.retry_after or 0) <= 3_600


@pytest.mark.parametrize("lease", [None, 3])
def test_calls_side_by_side_never_pass_the_quota(
    mine: ToolRegistry, acme: Tenant, lease: int | None
) -> None:
    quota = CallQuota(calls=5, seconds=3_600, shared=True, lease=lease)
    tools = mine.bind(acme, policy=ToolPolicy(quotas={"*": quota}))
    with ThreadPoolExecutor(4) as threads:
        names = ["small", "other"] * 6
        done = sum(threads.map(lambda name: tools.call(name, {}).is_ok, names))
    while tools.call("small", {}).is_ok:  # what was leased while others found nothing
        done += 1
    assert done == 5


def test_a_refused_call_is_counted_by_neither_quota(
    mine: ToolRegistry, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas = {
        "small": CallQuota(calls=2, seconds=60, shared=True),
        "*": CallQuota(calls=3, seconds=60),
    }
    tools = mine.bind(acme, policy=ToolPolicy(quotas=quotas))

    async def main() -> list[bool]:
        names = ["small", "small", "small", "other", "other"]
        return [(await tools.acall(name, {})).is_ok for name in names]

    assert asyncio.run(main()) == [True, True, False, True, False]
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now - 1_000)  # set back: it opens nothing
    assert not tools.call("small", {}).is_ok
    key = ("tools", "calls", "small", 60_000)
    times, leases = acme.state.get(key)
    assert (len(times), leases) == (2, [])


def test_an_async_handle_counts_too(mine: ToolRegistry, tmp_path: Path) -> None:
    async def main() -> list[bool]:
        async with llmspell.open(tmp_path / "other") as db:
            tenant = await db.create_tenant(TenantConfig(id="a"))
            quota = CallQuota(calls=3, seconds=60, shared=True, lease=2)
            tools = mine.bind(tenant, policy=ToolPolicy(quotas={"small": quota}))
            return [(await tools.acall("small", {})).is_ok for _ in range(4)]

    assert asyncio.run(main()) == [True, True, True, False]
    mine.close()  # the database is closed, so that nothing can be given back


def test_a_tenant_that_can_not_pay_for_the_count_makes_no_call(
    mine: ToolRegistry, database: Database
) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=1)  # the call itself
    poor = database.create_tenant(TenantConfig(id="poor", quotas=quotas))
    once = {"small": HOUR, "*": CallQuota(calls=1, seconds=60)}
    tools = mine.bind(poor, policy=ToolPolicy(quotas=once))
    with pytest.raises(QuotaExceeded):
        tools.call("small", {})
    database.update_tenant("poor", quotas=QuotaLimits.unlimited())
    assert tools.call("small", {}).is_ok


def test_a_shared_quota_has_few_calls() -> None:
    with pytest.raises(ConfigError, match="1,000"):
        CallQuota(calls=1_001, seconds=1, shared=True)


LEASED = CallQuota(calls=10, seconds=3_600, shared=True, lease=4)
KEY = ("tools", "calls", "small", 3_600_000)


@pytest.mark.parametrize("is_async", [False, True])
def test_leased_calls_are_made_without_a_write_and_what_is_left_is_given_back(
    acme: Tenant, is_async: bool
) -> None:
    policy = ToolPolicy(quotas={"small": LEASED})

    def calls(registry: ToolRegistry, times: int) -> int:
        tools = registry.bind(acme, policy=policy)

        async def main() -> int:
            return sum([(await tools.acall("small", {})).is_ok for _ in range(times)])

        if is_async:
            return asyncio.run(main())
        return sum(tools.call("small", {}).is_ok for _ in range(times))

    with ToolRegistry([small]) as other, ToolRegistry([small]) as mine:
        assert calls(mine, 1) == 1
        kept = acme.state.get(KEY)
        assert [len(kept[0]), kept[1][0][2]] == [1, 3]
        assert calls(mine, 2) == 2
        assert acme.state.get(KEY) == kept
        assert calls(other, 7) == 6  # all but the one that is leased
        asyncio.run(mine.aclose()) if is_async else mine.close()
        assert calls(other, 2) == 1
    times, leases = acme.state.get(KEY)
    assert (len(times), leases) == (10, [])


def test_a_lease_whose_holder_died_counts_to_the_end_of_its_stretch(acme: Tenant) -> None:
    policy = ToolPolicy(quotas={"small": LEASED})
    with ToolRegistry([small]) as other:
        died = ToolRegistry([small])  # it is never closed, and gives nothing back
        assert died.bind(acme, policy=policy).call("small", {}).is_ok
        tools = other.bind(acme, policy=policy)
        results = [tools.call("small", {}) for _ in range(7)]
    assert [result.is_ok for result in results] == [True] * 6 + [False]
    fault = results[-1].fault
    assert fault is not None
    assert 3_500 < (fault.retry_after or 0) <= 3_600
    died.close()


class Clock:
    """A clock of the wall that may be set, and one that goes on evenly."""

    def __init__(self) -> None:
        self.wall, self.even = 1e9, 0.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.even


class Kept:
    """The state, as far as counting needs it."""

    def __init__(self) -> None:
        self.values: dict[object, Any] = {}

    def get(self, key: object) -> Any:
        return deepcopy(self.values.get(key))

    def write(self, edits: list[Any]) -> None:
        for check, edit in zip(edits[::2], edits[1::2], strict=True):
            assert self.values.get(check.key, NOTHING) == check.value
            self.values[edit.key] = deepcopy(edit.value)


ASKED = [(0, 1, "call")] * 5


@settings(max_examples=60, deadline=None)
@given(
    lease=st.integers(1, 4),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 2, 3, 8, 36, 38]),  # quarters of seconds: floats hold these
            st.integers(0, 2),
            st.sampled_from(["call", "call", "call", "call", "undo", "close", "die", "back"]),
        ),
        max_size=40,
    ),
)
@example(4, [(0, 0, "call"), (3, 0, "call"), *[(0, 0, "call")] * 2, *[(38, 1, "call")], *ASKED])
@example(4, [(0, 0, "call"), (3, 0, "call"), (0, 0, "die"), (38, 1, "call"), *ASKED])
@example(4, [(0, 0, "call"), (3, 0, "call"), (0, 0, "close"), (38, 1, "call"), *ASKED])
def test_no_stretch_of_time_has_more_calls_than_the_quota_whatever_becomes_of_the_leases(
    lease: int, steps: list[tuple[int, int, str]]
) -> None:
    quotas = {
        "a": CallQuota(calls=5, seconds=10, shared=True, lease=lease),
        "*": CallQuota(calls=8, seconds=12, shared=True, lease=lease),
    }
    kept, clock, made = Kept(), Clock(), list[float]()
    processes = [Leases() for _ in range(3)]
    has_died = False
    with patch.object(module, "time", clock), patch.object(leases_module, "time", clock):
        for quarters, who, what in steps:
            pause = quarters / 4
            clock.wall += pause
            clock.even += pause
            leases = processes[who]
            leases.state = kept  # type: ignore[assignment]
            if what == "back":
                clock.wall -= 3 * pause
            elif what == "close":
                module.give_back_leases(leases)
            elif what == "die":
                processes[who], has_died = Leases(), True
            else:
                counted = module.shared_of("a", quotas)
                refusal = module.do(kept, module.taking(leases, counted))  # type: ignore[arg-type]
                now = clock.even
                if refusal is not None:
                    assert refusal[1] > 0
                elif what == "undo":
                    module.do(kept, module.giving_back(leases, counted))  # type: ignore[arg-type]
                else:
                    made.append(now)
                    assert sum(at + 10 > now for at in made) <= 5
                    assert sum(at + 12 > now for at in made) <= 8
        if has_died or any(what == "back" for _, _, what in steps):
            return
        # What was leased and given back is there for all: nothing got lost.
        for leases in processes:
            module.give_back_leases(leases)
        left = min(
            5 - sum(at + 10 > clock.even for at in made),
            8 - sum(at + 12 > clock.even for at in made),
        )
        last = Leases()
        for _ in range(left):
            counted = module.shared_of("a", quotas)
            assert module.do(kept, module.taking(last, counted)) is None  # type: ignore[arg-type]
        counted = module.shared_of("a", quotas)
        assert module.do(kept, module.taking(last, counted)) is not None  # type: ignore[arg-type]


def test_a_lease_that_the_state_may_have_been_told_of_is_not_used_again() -> None:
    quota = {"a": CallQuota(calls=10, seconds=10, shared=True, lease=2)}
    kept, leases = Kept(), Leases()
    first, second, third = (module.shared_of("a", quota) for _ in range(3))
    for counted in (first, second):  # the second uses up the lease
        assert module.do(kept, module.taking(leases, counted)) is None  # type: ignore[arg-type]

    class Lost(Kept):
        def write(self, edits: list[Any]) -> None:
            kept.write(edits)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lost = Lost()
        lost.values = kept.values
        module.do(lost, module.taking(leases, third))  # type: ignore[arg-type]
    module.do(kept, module.giving_back(leases, second))  # type: ignore[arg-type]
    assert leases.take(second[0].key, module.time.time()) is None
    times, held = kept.values[second[0].key]
    assert (len(times), [calls for _, _, calls in held]) == (2, [1])


FORK = """
import os, time
from llmspell.tools.leases import Lease, Leases

leases, now = Leases(), time.time()
leases.put(("key",), [Lease(1, now, now + 600, 2, time.monotonic() + 600)])
child = os.fork()
if not child:
    os._exit(leases.take(("key",), now) is not None)
print(os.waitpid(child, 0)[1], leases.take(("key",), now) is not None)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_has_no_lease_of_its_parent() -> None:
    given = [sys.executable, "-c", FORK]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 True"


@pytest.mark.parametrize("lease", [0, 11, True, "4"])
def test_a_lease_is_some_calls_of_a_shared_quota(lease: Any) -> None:
    with pytest.raises(ConfigError, match="1 to 10"):
        CallQuota(calls=10, seconds=1, shared=True, lease=lease)
    with pytest.raises(ConfigError, match="shared=True"):
        CallQuota(calls=10, seconds=1, lease=2)
    assert CallQuota(calls=1_000, seconds=1, shared=True).leased == 10
    assert HOUR.leased == 1


@pytest.mark.parametrize("shared", [False, True])
def test_a_call_that_waits_for_approval_is_counted_when_it_is_made(
    mine: ToolRegistry, acme: Tenant, shared: bool
) -> None:
    answers: list[bool] = []

    def approve(call: ToolCall) -> bool:
        if not answers:
            raise ApprovalPending
        return answers.pop()

    quotas = {name: CallQuota(calls=1, seconds=3_600, shared=shared) for name in ("small", "*")}
    policy = ToolPolicy(quotas=quotas, approve=("small",))
    tools = mine.bind(acme, policy=policy, approve=approve)
    with pytest.raises(ApprovalPending):
        tools.call("small", {})
    with pytest.raises(ApprovalPending):
        asyncio.run(tools.acall("small", {}))
    answers.append(True)
    assert tools.call("small", {}).is_ok
    fault = tools.call("small", {}).fault
    assert fault is not None
    assert fault.kind is FaultKind.CALL_LIMIT
