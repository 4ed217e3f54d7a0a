"""A tenant, and a registry with the tools of samples/."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from llmspell.security import Sandbox
from llmspell.tools import FunctionTool, ToolRegistry

SAMPLES = Path(__file__).with_name("samples")


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    sys.path.insert(0, str(SAMPLES))
    try:
        return importlib.import_module("sampletools")
    finally:
        sys.path.remove(str(SAMPLES))


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        yield made


@pytest.fixture(scope="session")
def registry(samples: ModuleType, sandbox: Sandbox) -> Iterator[ToolRegistry]:
    """All of the samples; those of one kind share their workers, in all tests."""
    tools = [value for value in vars(samples).values() if isinstance(value, FunctionTool)]
    with ToolRegistry(tools, sandbox=sandbox) as made:
        yield made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data") as made:
        yield made


@pytest.fixture
def tenant(database: Database) -> Tenant:
    quotas = QuotaLimits(max_cost_per_month=1.0, max_api_calls_per_minute=1_000)
    return database.create_tenant(TenantConfig(id="acme", quotas=quotas))
