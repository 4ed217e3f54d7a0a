"""Calls of shared quotas that a process takes beforehand."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmspell import Tenant
from llmspell.errors import ConfigError
from llmspell.state import NOTHING, State
from llmspell.tools import CallQuota, ToolPolicy, ToolRegistry, shared_calls, tool
from llmspell.tools import leases as leases_module
from llmspell.tools.leases import Leases
from llmspell.tools.shared_calls import (
    Steps,
    give_back_leases,
    giving_back,
    shared_of,
    take_steps,
    taking,
)

ROOT = Path(__file__).parents[2]


@tool(trusted=True)
def small() -> int:
    """Do a little."""
    return 1


LEASED = CallQuota(calls=10, seconds=3_600, shared=True, lease=4)
KEY = ("tools", "calls", "small", 3_600_000)


@pytest.mark.parametrize("is_async", [False, True])
def test_leased_calls_are_made_without_a_write_and_what_is_left_is_given_back(
    tenant: Tenant, is_async: bool
) -> None:
    policy = ToolPolicy(quotas={"small": LEASED})

    def calls(registry: ToolRegistry, times: int) -> int:
        tools = registry.bind(tenant, policy=policy)

        async def main() -> int:
            return sum([(await tools.acall("small", {})).is_ok for _ in range(times)])

        if is_async:
            return asyncio.run(main())
        return sum(tools.call("small", {}).is_ok for _ in range(times))

    with ToolRegistry([small]) as other, ToolRegistry([small]) as mine:
        assert calls(mine, 1) == 1
        kept = tenant.state.get(KEY)
        assert [len(kept[0]), kept[1][0][2]] == [1, 3]
        assert calls(mine, 2) == 2
        assert tenant.state.get(KEY) == kept
        assert calls(other, 7) == 6  # all but the one that is leased
        asyncio.run(mine.aclose()) if is_async else mine.close()
        assert calls(other, 2) == 1
    times, leases = tenant.state.get(KEY)
    assert (len(times), leases) == (10, [])


def test_a_lease_whose_holder_died_counts_to_the_end_of_its_stretch(tenant: Tenant) -> None:
    policy = ToolPolicy(quotas={"small": LEASED})
    with ToolRegistry([small]) as other:
        died = ToolRegistry([small])  # it is never closed, and gives nothing back
        assert died.bind(tenant, policy=policy).call("small", {}).is_ok
        tools = other.bind(tenant, policy=policy)
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


def in_state(kept: Kept, steps: Steps[Any]) -> Any:
    """What the steps come to."""
    return take_steps(cast("State", kept), steps)


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
    with patch.object(shared_calls, "time", clock), patch.object(leases_module, "time", clock):
        for quarters, who, what in steps:
            pause = quarters / 4
            clock.wall += pause
            clock.even += pause
            leases = processes[who]
            leases.state = kept  # type: ignore[assignment]
            if what == "back":
                clock.wall -= 3 * pause
            elif what == "close":
                give_back_leases(leases)
            elif what == "die":
                processes[who], has_died = Leases(), True
            else:
                counted = shared_of("a", quotas)
                refusal = in_state(kept, taking(leases, counted))
                now = clock.even
                if refusal is not None:
                    assert refusal[1] > 0
                elif what == "undo":
                    in_state(kept, giving_back(leases, counted))
                else:
                    made.append(now)
                    assert sum(at + 10 > now for at in made) <= 5
                    assert sum(at + 12 > now for at in made) <= 8
        if has_died or any(what == "back" for _, _, what in steps):
            return
        # What was leased and given back is there for all: nothing got lost.
        for leases in processes:
            give_back_leases(leases)
        left = min(
            5 - sum(at + 10 > clock.even for at in made),
            8 - sum(at + 12 > clock.even for at in made),
        )
        last = Leases()
        for _ in range(left):
            counted = shared_of("a", quotas)
            assert in_state(kept, taking(last, counted)) is None
        counted = shared_of("a", quotas)
        assert in_state(kept, taking(last, counted)) is not None


def test_a_lease_that_the_state_may_have_been_told_of_is_not_used_again() -> None:
    quota = {"a": CallQuota(calls=10, seconds=3_600, shared=True, lease=2)}
    kept, leases = Kept(), Leases()
    first, second, third = (shared_of("a", quota) for _ in range(3))
    for counted in (first, second):  # the second uses up the lease
        assert in_state(kept, taking(leases, counted)) is None

    class Lost(Kept):
        def write(self, edits: list[Any]) -> None:
            kept.write(edits)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lost = Lost()
        lost.values = kept.values
        in_state(lost, taking(leases, third))
    in_state(kept, giving_back(leases, second))
    assert leases.take(second[0].key, time.time()) is None
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
    assert CallQuota(calls=5, seconds=1, shared=True).leased == 1
