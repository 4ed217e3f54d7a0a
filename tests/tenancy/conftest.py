from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from tests.tenancy.texts import Lines
from tests.tenancy.transfers import Makes


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", lock_timeout=0.1, texts=Lines()) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    return db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))


@pytest.fixture
def make(db: Database) -> Makes:
    return Makes(db)
