from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.integrations.langchain import LlmspellTool, langchain_tools
from llmspell.tools import ToolPolicy, ToolRegistry, tool


@tool(trusted=True)
def divide(a: float, b: float) -> dict[str, float]:
    """Divide a by b."""
    return {"quotient": a / b}


@tool(trusted=True)
async def wait_for(what: str = "nothing") -> str:
    """Wait for something."""
    await asyncio.sleep(0)
    return f"waited for {what}"


@tool(trusted=True)
def greet(self: str, config: str) -> str:
    """Greet by names that frameworks use themselves."""
    return f"{self}, {config}"


@pytest.fixture
def registry() -> Iterator[ToolRegistry]:
    with ToolRegistry([divide, wait_for]) as made:
        yield made


@pytest.fixture
def tools(registry: ToolRegistry, tenant: Tenant) -> dict[str, LlmspellTool]:
    return {one.name: one for one in langchain_tools(registry.bind(tenant))}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "args": arguments, "id": "1", "type": "tool_call"}


def test_a_model_is_told_what_our_schema_says(tools: dict[str, LlmspellTool]) -> None:
    told = convert_to_openai_tool(tools["divide"])["function"]
    assert told["name"] == "divide" and told["description"] == "Divide a by b."
    assert set(told["parameters"]["properties"]) == {"a", "b"}
    assert told["parameters"]["required"] == ["a", "b"]


def test_results_are_text_for_the_model_and_data_beside_it(tools: dict[str, LlmspellTool]) -> None:
    message = tools["divide"].invoke(call("divide", {"a": 1, "b": 2}))
    assert isinstance(message, ToolMessage)
    assert message.content == '{"quotient": 0.5}' and message.status == "success"
    assert message.artifact.value == {"quotient": 0.5}
    awaited = asyncio.run(tools["wait_for"].ainvoke({"what": "rain"}))
    assert awaited == tools["wait_for"].invoke({"what": "rain"}) == "waited for rain"


def test_faults_are_messages_unless_they_are_asked_for(tools: dict[str, LlmspellTool]) -> None:
    for arguments, kind in (({"a": 1, "b": 0}, "failed"), ({"a": "x"}, "invalid_arguments")):
        message = tools["divide"].invoke(call("divide", arguments))
        assert message.status == "error" and f"({kind})" in message.content
    strict = tools["divide"].model_copy(update={"handle_tool_error": False})
    with pytest.raises(ToolException, match="failed"):
        strict.invoke({"a": 1, "b": 0})


def test_arguments_have_any_names(tenant: Tenant) -> None:
    with ToolRegistry([greet]) as registry:
        (tool,) = langchain_tools(registry.bind(tenant))
        given = {"self": "I", "config": "you"}
        assert tool.invoke(given) == asyncio.run(tool.ainvoke(given)) == "I, you"


def test_only_what_the_policy_allows_is_there(registry: ToolRegistry, tenant: Tenant) -> None:
    bound = registry.bind(tenant, policy=ToolPolicy(allow=("div*",)))
    assert [one.name for one in langchain_tools(bound)] == ["divide"]


def test_calls_are_charged_to_the_tenant(registry: ToolRegistry, database: Database) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=1)
    tenant = database.create_tenant(TenantConfig(id="poor", quotas=quotas))
    (divides, _) = langchain_tools(registry.bind(tenant))
    assert divides.invoke({"a": 4, "b": 2})
    with pytest.raises(errors.QuotaExceeded):
        divides.invoke({"a": 4, "b": 2})
    database.drop_tenant("poor")
