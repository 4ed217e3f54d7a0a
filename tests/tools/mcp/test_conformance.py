"""The public conformance scenarios for servers, run against ours: all that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell.tools import ToolRegistry
from llmspell.tools.mcp import McpServer
from tests.tools.mcp import conformance
from tests.tools.mcp.everything import PROMPTS, RESOURCES, TOOLS
from tests.tools.mcp.serving import served

SCENARIOS = [
    *("completion-complete", "dns-rebinding-protection", "elicitation-sep1034-defaults"),
    *("elicitation-sep1330-enums", "json-schema-2020-12", "logging-set-level", "ping"),
    *("prompts-get-embedded-resource", "prompts-get-simple", "prompts-get-with-args"),
    *("prompts-get-with-image", "prompts-list", "resources-list", "resources-read-binary"),
    *("resources-read-text", "resources-subscribe", "resources-templates-read"),
    *("resources-unsubscribe", "server-initialize", "server-sse-multiple-streams"),
    *("server-sse-polling", "tools-call-audio", "tools-call-elicitation"),
    *("tools-call-embedded-resource", "tools-call-error", "tools-call-image"),
    *("tools-call-mixed-content", "tools-call-sampling", "tools-call-simple-text"),
    *("tools-call-with-logging", "tools-call-with-progress", "tools-list"),
]


def test_all_scenarios_pass(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kept = getattr(request.config, "cache", None)  # pytest may be run without one
    program = conformance.installed(kept.mkdir("mcp-conformance") if kept else tmp_path)
    config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
    with llmspell.open(tmp_path / "data") as database, ToolRegistry(TOOLS) as registry:
        tools = registry.bind(database.create_tenant(config))
        server = McpServer(tools, prompts=PROMPTS, resources=RESOURCES)
        with served(server.asgi()) as where:
            found = conformance.run(program, f"{where}/mcp", tmp_path / "found")
    assert sorted(found) == SCENARIOS
    for scenario, checks in found.items():
        statuses = [one["status"] for one in checks if one["status"] != "INFO"]
        # Nor does one warn.
        assert statuses, scenario
        assert set(statuses) == {"SUCCESS"}, (scenario, checks)
