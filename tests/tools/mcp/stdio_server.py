"""Serves a tool by standard input and output: what the tests start as a process."""

from __future__ import annotations

import asyncio
import os
import tempfile

import llmspell
from llmspell import TenantConfig
from llmspell.tools import ToolContext, ToolRegistry, tool
from llmspell.tools.mcp import McpServer


@tool(trusted=True)
def whose(context: ToolContext) -> dict[str, str]:
    """Tell for whom it runs, and what the process was given."""
    return {"tenant": context.tenant.id, "given": os.environ.get("GIVEN", "")}


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        llmspell.open(folder) as database,
        ToolRegistry([whose]) as registry,
    ):
        acme = database.create_tenant(TenantConfig(id="acme"))
        asyncio.run(McpServer(registry.bind(acme)).run_stdio())


if __name__ == "__main__":
    main()
