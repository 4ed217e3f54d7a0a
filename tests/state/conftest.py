from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", lock_timeout=0.1) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    return db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
