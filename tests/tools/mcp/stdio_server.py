"""Serves tools by standard input and output: what the tests start as a process."""

from __future__ import annotations

import asyncio
import os
import tempfile

import llmspell
from llmspell import TenantConfig
from llmspell.tools import ToolContext, ToolRegistry, tool
from llmspell.tools.mcp import McpServer, Resource


@tool(trusted=True)
def whose(context: ToolContext) -> dict[str, str]:
    """Tell for whom it runs, and what the process was given."""
    return {"tenant": context.tenant.id, "given": os.environ.get("GIVEN", "")}


@tool(trusted=True)
async def greet(context: ToolContext) -> str:
    """Ask for a name, and tell of it."""
    assert context.client is not None
    form = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answer = await context.client.elicit("Who is it?", form)
    await context.client.log("debug", answer.action)
    return f"Hello, {answer.content['name']}."


def rules() -> str:
    return "Be kind."


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        llmspell.open(folder) as database,
        ToolRegistry([whose, greet]) as registry,
    ):
        acme = database.create_tenant(TenantConfig(id="acme"))
        server = McpServer(registry.bind(acme), resources=[Resource("rules://house", rules)])
        asyncio.run(server.run_stdio())


if __name__ == "__main__":
    main()
