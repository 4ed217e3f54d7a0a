"""A tenant behind a commit that failed: with the write as a whole or without it, in every view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, TenantConfig, errors
from tests.storage.failing_commit import fail_next_commit
from tests.storage.test_interrupts import check, put


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data") as database:
        yield database


@pytest.mark.parametrize("is_there", [False, True])
def test_views_quotas_and_answers_follow_what_the_file_has(db: Database, is_there: bool) -> None:
    acme = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    put(acme, range(10))
    acme.search(np.ones(8), filter={"even": True})
    shifts = dict.fromkeys(range(10), 0)
    fail_next_commit(acme._enter().store._env, is_there=is_there)
    with pytest.raises(errors.CommitFailed) as told:
        put(acme, range(5, 15), shift=20)
    assert told.value.is_durable is is_there
    if is_there:
        shifts.update(dict.fromkeys(range(5, 15), 20))
    check(acme, shifts)
    put(acme, range(15, 18))
    shifts.update(dict.fromkeys(range(15, 18), 0))
    check(acme, shifts)
    acme.close()
    check(db.tenant("acme"), shifts)


@pytest.mark.parametrize("is_there", [False, True])
def test_tenant_whose_making_failed_can_be_made_or_is_there(db: Database, is_there: bool) -> None:
    db.create_tenant(TenantConfig(id="first")).upsert([1], [[1.0, 2.0]])
    fail_next_commit(db._catalog._env, is_there=is_there)
    with pytest.raises(errors.CommitFailed) as told:
        db.create_tenant(TenantConfig(id="acme"))
    assert told.value.is_durable is (None if is_there else False)
    assert [info.id for info in db.tenants()] == (["acme"] if is_there else []) + ["first"]
    acme = db.tenant("acme") if is_there else db.create_tenant(TenantConfig(id="acme"))
    acme.upsert([1], [[1.0, 2.0]])
    assert (acme.count(), db.tenant("first").count()) == (1, 1)
