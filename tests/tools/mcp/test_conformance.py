"""The public conformance scenarios for servers, run against ours.

They are a program for Node: ``npm install -g @modelcontextprotocol/conformance@0.1.13``.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell.tools import ToolRegistry
from llmspell.tools.mcp import McpServer
from tests.tools.mcp.everything import TOOLS
from tests.tools.mcp.serving import served

PROGRAM = shutil.which("conformance")

SCENARIOS = [
    *("server-initialize", "ping", "tools-list", "tools-call-simple-text", "tools-call-image"),
    *("tools-call-audio", "tools-call-embedded-resource", "tools-call-mixed-content"),
    *("tools-call-error", "json-schema-2020-12", "server-sse-multiple-streams"),
    "dns-rebinding-protection",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
    with (
        llmspell.open(tmp_path_factory.mktemp("data")) as database,
        ToolRegistry(TOOLS) as registry,
    ):
        tools = registry.bind(database.create_tenant(config))
        with served(McpServer(tools).asgi()) as where:
            yield f"{where}/mcp"


@pytest.mark.skipif(
    PROGRAM is None,
    reason="conformance isn't on the PATH: npm install -g @modelcontextprotocol/conformance@0.1.13",
)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_passes(scenario: str, url: str, tmp_path: Path) -> None:
    assert PROGRAM is not None
    done = subprocess.run(
        [PROGRAM, "server", "--url", url, "--scenario", scenario],
        cwd=tmp_path,  # where it writes what it found
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failed" in done.stdout
    assert "Passed: 0/0" not in done.stdout
