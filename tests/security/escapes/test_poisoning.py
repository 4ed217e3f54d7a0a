"""What a call leaves behind is gone for the next one of anybody else."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmspell.errors import LlmspellError
from llmspell.security import ConfinedTool, SecurityRequirements
from tests.security.escapes.running import ATTEMPTS, Grounds

FUNCTIONS = ["poison", "poison_what_serves", "found", "who", "number"]
LEVELS = {
    "safe": SecurityRequirements.safe().with_timeout(2),
    "restricted": SecurityRequirements.restricted().with_timeout(2),
    "processes": SecurityRequirements.restricted().with_processes(4).with_timeout(2),
    "privileged": SecurityRequirements.privileged().with_processes(4).with_timeout(2),
}


@pytest.fixture(params=LEVELS)
def requirements(request: pytest.FixtureRequest) -> SecurityRequirements:
    return LEVELS[request.param]


def load(
    grounds: Grounds, requirements: SecurityRequirements, *, keep_workers: bool = False
) -> ConfinedTool:
    made = grounds.load(
        "poisoning", FUNCTIONS, requirements, path=[ATTEMPTS], keep_workers=keep_workers, ready=1
    )
    assert isinstance(made, ConfinedTool)
    return made


def test_poison_works_where_the_worker_is_the_same(
    grounds: Grounds, requirements: SecurityRequirements
) -> None:
    """Without this the other tests would show nothing."""
    with load(grounds, requirements, keep_workers=True) as tool:
        assert tool.call("found", tenant="one").value == []
        tool.call("poison", tenant="one")
        found = tool.call("found", tenant="one").value
        assert {"builtins", "os", "json", "llmspell", "gc", "threads", "mask"} <= set(found)


def test_another_call_finds_nothing(grounds: Grounds, requirements: SecurityRequirements) -> None:
    with load(grounds, requirements) as tool:
        for _ in range(3):
            tool.call("poison")
            assert tool.call("found").value == []


def test_another_tenant_finds_nothing(grounds: Grounds, requirements: SecurityRequirements) -> None:
    with load(grounds, requirements, keep_workers=True) as tool:
        tool.call("found", tenant="two")
        tool.call("poison", tenant="one")
        for tenant in ("two", "three", None, "one "):
            assert tool.call("found", tenant=tenant).value == []


def test_another_tool_finds_nothing(grounds: Grounds, requirements: SecurityRequirements) -> None:
    with load(grounds, requirements) as one, load(grounds, requirements) as other:
        one.call("poison")
        assert other.call("found").value == []


def test_what_serves_is_poisoned_for_its_own_call_alone(
    grounds: Grounds, requirements: SecurityRequirements
) -> None:
    with load(grounds, requirements, keep_workers=True) as tool:
        with contextlib.suppress(LlmspellError):
            tool.call("poison_what_serves", tenant="one")
        for _ in range(3):
            assert tool.call("found", tenant="two").value == []


def test_no_two_calls_have_the_same_random_numbers(grounds: Grounds) -> None:
    with load(grounds, LEVELS["safe"]) as tool:
        numbers = [tool.call("number").value for _ in range(8)]
    assert len(set(numbers)) == len(numbers)


def test_tenants_at_one_time_never_share_a_worker(grounds: Grounds) -> None:
    with load(grounds, LEVELS["safe"], keep_workers=True) as tool:

        def found(tenant: int) -> list[str]:
            if tenant % 2:
                tool.call("poison", tenant=str(tenant))
                return []
            signs: list[str] = tool.call("found", tenant=str(tenant)).value
            return signs

        with ThreadPoolExecutor(4) as pool:
            assert [one for signs in pool.map(found, [*range(6)] * 4) for one in signs] == []
