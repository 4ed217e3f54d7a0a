"""Calls of tools that the kernel confines."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import ModuleType

import pytest

from llmspell import Tenant
from llmspell.errors import ConfigError
from llmspell.security import SecurityRequirements
from llmspell.tools import FaultKind, Tool, ToolOptions, ToolRegistry, tool

pytestmark = pytest.mark.usefixtures("confines")


def test_a_tool_runs_in_a_process_of_its_own(registry: ToolRegistry, tenant: Tenant) -> None:
    tools = registry.bind(tenant)
    assert tools.call("add", {"a": 2}).value == 3
    assert tools.call("later", {"text": "tea"}).value == "tea"
    first = tools.call("who", {}).value
    assert first not in (os.getpid(), tools.call("who", {}).value)


@pytest.mark.parametrize(
    "name, arguments, kind, named",
    [
        ("peek", {"path": "/etc/passwd"}, FaultKind.FAILED, "PermissionError"),
        ("sleep", {"seconds": 60}, FaultKind.TIMEOUT, "not done in 0.3 s"),
        ("spin", {}, FaultKind.RESOURCE_LIMIT, "processor time"),
        ("take", {"size": 200 << 20}, FaultKind.RESOURCE_LIMIT, "MemoryError"),
        ("raises", {"message": "so it is"}, FaultKind.FAILED, "LookupError: so it is"),
        ("returns_object", {}, FaultKind.FAILED, "the result"),
        ("add", {"a": 1 << 80}, FaultKind.INVALID_ARGUMENTS, "can't be sent"),
        ("add", {"a": "x"}, FaultKind.INVALID_ARGUMENTS, "a: "),
    ],
)
def test_what_goes_wrong_is_data(
    registry: ToolRegistry,
    tenant: Tenant,
    name: str,
    arguments: dict[str, object],
    kind: FaultKind,
    named: str,
) -> None:
    result = registry.bind(tenant).call(name, arguments)
    assert result.fault is not None
    assert result.fault.kind is kind
    assert named in result.fault.message
    assert result.value is None


def test_the_usual_encodings_are_there(registry: ToolRegistry, tenant: Tenant) -> None:
    tools = registry.bind(tenant)
    for encoding in ("utf-8-sig", "cp1252", "latin-1", "idna", "unicode-escape"):
        result = tools.call("recode", {"text": "th\xe9", "encoding": encoding})
        assert result.value == "th\xe9", encoding


def test_a_call_may_be_given_less_time(registry: ToolRegistry, tenant: Tenant) -> None:
    result = registry.bind(tenant).call("sleep", {"seconds": 60}, timeout=0.1)
    assert result.fault is not None
    assert result.fault.kind is FaultKind.TIMEOUT
    assert "not done in 0.1 s" in result.fault.message


def test_a_plain_function_of_a_module_can_be_a_tool(
    samples: ModuleType, registry: ToolRegistry, tenant: Tenant
) -> None:
    registry.add(tool(name="plain")(samples.plain))
    try:
        assert registry.bind(tenant).call("plain", {"text": "tea"}).value == "tea"
    finally:
        registry.remove("plain")
    assert "plain" not in registry


def test_cancelling_a_call_ends_its_worker(
    samples: ModuleType, registry: ToolRegistry, tenant: Tenant, tmp_path: Path
) -> None:
    holding = samples.hold.with_options(
        name="hold_there",
        requirements=SecurityRequirements.restricted().with_file_access(tmp_path),
        max_concurrent=1,
    )
    registry.add(holding)
    tools = registry.bind(tenant)
    sign = tmp_path / "runs"

    async def cancelled() -> None:
        call = asyncio.create_task(tools.acall("hold_there", {"path": str(sign), "seconds": 25}))
        while not sign.exists():
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # The only place is free only when nothing of the call runs any more.
        sign.unlink()
        result = await tools.acall("hold_there", {"path": str(sign), "seconds": 0}, timeout=20)
        assert result.is_ok

    try:
        asyncio.run(cancelled())
    finally:
        registry.remove("hold_there")


def test_many_calls_at_one_time(registry: ToolRegistry, tenant: Tenant) -> None:
    tools = registry.bind(tenant)

    async def all_of_them() -> list[object]:
        calls = [tools.acall("add", {"a": n}) for n in range(20)]
        return [result.value for result in await asyncio.gather(*calls)]

    assert asyncio.run(all_of_them()) == list(range(1, 21))


def test_what_workers_could_not_import_is_refused_when_it_is_added(
    registry: ToolRegistry,
) -> None:
    @tool
    def inner() -> None:
        """Do."""

    with pytest.raises(ConfigError, match=r"define it at the top of a module, or say trusted=True"):
        registry.add(inner)

    class Counts(Tool):
        """Count."""

        def run(self) -> int:
            return 1

    with pytest.raises(ConfigError, match="keeps its state in this process"):
        registry.add(Counts())
    Counts.options = ToolOptions(trusted=True)
    registry.add(Counts())
    registry.remove("counts")
