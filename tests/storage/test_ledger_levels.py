"""What the ledger counts of a tenant agrees with its log once the tenant is open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import TenantConfig
from llmspell.quota import Quota


@pytest.mark.parametrize("quota", [Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE])
def test_damaged_level_is_put_right_by_opening_the_tenant(tmp_path: Path, quota: Quota) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        tenant.upsert(range(3), np.eye(3))
        right = tenant.usage().of(quota).used
        tenant.close()
        entry = db._registry.catalog.get("acme")
        slot = db._registry.ledger.slot(entry.key)
        slot.set_level(quota, right ^ 1 << 15)
        tenant = db.tenant("acme")
        assert tenant.count() == 3
        assert tenant.usage().of(quota).used == right
