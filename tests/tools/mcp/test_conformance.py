"""The public conformance scenarios for servers, run against ours: all that there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell.tools import ToolRegistry
from llmspell.tools.mcp import McpServer
from tests.tools.mcp import conformance
from tests.tools.mcp.everything import PROMPTS, RESOURCES, TOOLS
from tests.tools.mcp.serving import served

Found = dict[str, list[dict[str, Any]]]

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


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
    with (
        llmspell.open(tmp_path_factory.mktemp("data")) as database,
        ToolRegistry(TOOLS) as registry,
    ):
        tools = registry.bind(database.create_tenant(config))
        server = McpServer(tools, prompts=PROMPTS, resources=RESOURCES)
        with served(server.asgi()) as where:
            yield f"{where}/mcp"


@pytest.fixture(scope="module")
def found(
    url: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Found:
    cache: Path = request.config.cache.mkdir("mcp-conformance")  # type: ignore[union-attr]
    program = conformance.installed(cache)
    return conformance.run(program, url, tmp_path_factory.mktemp("found"))


def test_no_scenario_is_left_out(found: Found) -> None:
    assert sorted(found) == SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_passes(scenario: str, found: Found) -> None:
    checks = [one for one in found[scenario] if one["status"] != "INFO"]
    assert checks
    # Nor does one warn.
    assert [one for one in checks if one["status"] != "SUCCESS"] == []
