"""A tenant, and a model that says what a test has written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from tests.agents.wire import MODELS, Server, Wire


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data") as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    quotas = QuotaLimits(max_api_calls_per_minute=None, max_tokens_per_day=1_000_000)
    return db.create_tenant(TenantConfig(id="acme", quotas=quotas))


@pytest.fixture(scope="session")
def chat_server() -> Iterator[Server]:
    server = Server()
    with server.http:
        yield server


@pytest.fixture(params=list(MODELS))
def wire(request: pytest.FixtureRequest, chat_server: Server) -> Wire:
    """The client of either provider, over HTTP."""
    return Wire(chat_server, request.param)
