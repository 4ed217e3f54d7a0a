"""Runs an agent whose second tool hangs, to be killed: ``python -m tests.agents.killed``.

Arguments are the data directory, a log, and the URL of a server that speaks as OpenAI does. Each
tool writes its name to the log when it is done, and ``hang`` when it begins.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell.agents import Agent
from llmspell.providers import OpenAIChat
from llmspell.tools import tool
from tests.agents.script import call

RUN = "the-run"


def tools(log: Path) -> list[Any]:
    """Tools that write down that they were called."""

    def note(name: str) -> None:
        with log.open("a") as file:
            file.write(name + "\n")

    @tool(trusted=True)
    def pay(amount: int) -> str:
        """Pay."""
        note(f"paid {amount}")
        return f"paid {amount}"

    @tool(trusted=True)
    def hang() -> str:
        """Never end, in the process that is killed."""
        note("hang")
        time.sleep(600)
        return "never"

    @tool(trusted=True, idempotent=True)
    def look() -> str:
        """Look, without harm; hang where nobody has hung before."""
        is_first = "look" not in log.read_text()
        note("look")
        if is_first:
            time.sleep(600)
        return "seen"

    return [pay, hang, look]


FIRST = (
    call(("pay", {"amount": 1})),
    call(("pay", {"amount": 2}), ("hang", {}), ("look", {})),
)


if __name__ == "__main__":
    with llmspell.open(sys.argv[1]) as database:
        tenant = database.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
        model = OpenAIChat("m", api_key="sk-x", base_url=sys.argv[3])
        agent = Agent(model, tools(Path(sys.argv[2])), "", tenant)
        asyncio.run(agent.run("pay them", run_id=RUN))
