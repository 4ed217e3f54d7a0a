"""The audit log of a database: steps in the life of tenants, and operations that were refused."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import QuotaLimits, TenantConfig, errors
from llmspell.security import AuditLog, AuditRecord, read_audit, verify_audit

VECTOR = np.ones(4, np.float32)


def told(path: Path, **chosen: Any) -> list[tuple[str, str | None, str]]:
    return [(r.kind, r.tenant, r.outcome) for r in read_audit(path, **chosen)]


def denials(path: Path) -> list[AuditRecord]:
    return [record for record in read_audit(path) if record.outcome == "denied"]


def test_each_step_is_recorded_as_begun_and_done(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with llmspell.open(tmp_path / "data", audit=log) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        tenant.upsert(["a"], VECTOR[None])
        db.update_tenant("acme", quotas=QuotaLimits(max_vectors=7))
        db.suspend_tenant("acme", reads_stay=True)
        db.resume_tenant("acme")
        tenant.export(io.BytesIO())
        db.snapshot_tenant("acme", tmp_path / "acme.tar")
        db.restore_tenant(tmp_path / "acme.tar", replace=True)
        db.clone_tenant("acme", "clone")
        db.purge_expired()
        db.drop_tenant("acme")
    steps = (
        *("create", "update", "suspend", "resume", "export", "snapshot"),
        *("restore", "clone", "purge", "drop"),
    )
    kinds = [f"tenant.{step}" for step in steps for _ in range(2)]
    assert [kind for kind, _, _ in told(log)] == kinds
    assert [outcome for _, _, outcome in told(log)] == ["begun", "done"] * len(steps)
    assert told(log, tenant="clone") == [
        ("tenant.clone", "clone", "begun"),
        ("tenant.clone", "clone", "done"),
    ]
    (begun, _) = read_audit(log, kind="tenant.update")
    assert "max_vectors=7" in str(begun.details["quotas"])
    # That of a restore tells the id, which stands in the snapshot.
    assert told(log, kind="tenant.restore")[1] == ("tenant.restore", "acme", "done")
    assert verify_audit(log).is_sound


def test_step_that_failed_is_recorded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with llmspell.open(tmp_path / "data", audit=log) as db:
        db.create_tenant(TenantConfig(id="acme"))
        with pytest.raises(errors.TenantExists):
            db.create_tenant(TenantConfig(id="acme"))
        with pytest.raises(errors.TenantNotFound):
            db.suspend_tenant("other")
        with pytest.raises(errors.TenantNotFound):
            db.suspend_tenant("x" * 500)
    failed = [record for record in read_audit(log) if record.outcome == "failed"]
    assert [record.details["error"] for record in failed] == [
        *("TenantExists", "TenantNotFound", "TenantNotFound")
    ]
    assert [record.tenant for record in failed] == ["acme", "other", None]


@pytest.mark.parametrize("own", [True, False])
def test_many_tenants_have_a_record_each(tmp_path: Path, own: bool) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        sink = log if own else Relay(log)
        with llmspell.open(tmp_path / "data", audit=sink) as db:
            db.create_tenants([TenantConfig(id=f"t{n}") for n in range(50)])
            db.create_tenants([])
        # Whose log it is closes it.
        log.append("key.change", subject="x")
    assert told(tmp_path / "log", tenant="t7") == [("tenant.create", "t7", "done")]
    assert len(told(tmp_path / "log")) == 50 + 2 + 2 + 1


class Relay:
    """A sink that isn't a log."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def append(self, kind: str, **given: Any) -> object:
        return self._log.append(kind, **given)


def test_step_begins_only_if_it_is_recorded(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "log")
    with llmspell.open(tmp_path / "data", audit=log) as db:
        db.create_tenant(TenantConfig(id="acme"))
        (tmp_path / "log").rename(tmp_path / "gone")
        with pytest.raises(errors.AuditFailed):
            db.drop_tenant("acme")
        with pytest.raises(errors.AuditFailed):
            db.create_tenant(TenantConfig(id="other"))
        assert [info.id for info in db.tenants()] == ["acme"]
        (tmp_path / "gone").rename(tmp_path / "log")
        db.drop_tenant("acme")
    log.close()


def test_end_that_cannot_be_recorded_is_told(tmp_path: Path) -> None:
    class Failing:
        def append(self, kind: str, *, outcome: str = "done", **_: object) -> None:
            if outcome != "begun":
                raise errors.AuditFailed("the disk is full")

    with llmspell.open(tmp_path / "data", audit=Failing()) as db:
        with pytest.raises(errors.AuditFailed) as caught:
            db.create_tenant(TenantConfig(id="acme"))
        assert "the step is done" in caught.value.__notes__[0]
        with pytest.raises(errors.AuditFailed) as caught:
            db.create_tenants([TenantConfig(id="a"), TenantConfig(id="b")])
        assert "the step is done" in caught.value.__notes__[0]
        assert len(db.tenants()) == 3
        with pytest.raises(errors.TenantExists) as exists:
            db.create_tenant(TenantConfig(id="acme"))
        assert "not in the audit log" in exists.value.__notes__[0]


def test_refusals_are_recorded_once_and_then_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with llmspell.open(tmp_path / "data", audit=log) as db:
        quotas = QuotaLimits(max_vectors=1, max_tokens_per_day=5)
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
        tenant.upsert(["a"], VECTOR[None])
        for _ in range(20):
            with pytest.raises(errors.QuotaExceeded):
                tenant.upsert(["b"], VECTOR[None])
        with pytest.raises(errors.QuotaExceeded), tenant.operation(tokens=6):
            pass
        db.suspend_tenant("acme")
        for query in (VECTOR, VECTOR[None]):
            with pytest.raises(errors.TenantSuspended):
                tenant.search(query)
        with pytest.raises(errors.TenantSuspended):
            tenant.count()
        assert tenant.id
    found = [(r.kind, r.subject, r.count) for r in denials(log)]
    assert sorted(found) == [
        ("quota.charge", "max_tokens_per_day", 1),
        ("quota.charge", "max_vectors", 1),
        ("quota.charge", "max_vectors", 1),
        ("quota.charge", "max_vectors", 18),
        ("tenant.use", "count", 1),
        ("tenant.use", "search", 0),
        ("tenant.use", "search", 1),
        ("tenant.use", "search", 1),
    ]
    assert {record.tenant for record in denials(log)} == {"acme"}
    first = denials(log)[0]
    assert first.details == {
        "error": "QuotaExceeded",
        "limit": 1,
        "operation": "upsert",
        "requested": 1,
        "used": 1,
    }


def test_refusal_within_an_operation_is_recorded_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with llmspell.open(tmp_path / "data", audit=log) as db:
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits(max_vectors=1)))
        with pytest.raises(errors.QuotaExceeded), tenant.operation():
            tenant.upsert(["a", "b"], np.stack([VECTOR, VECTOR]))
    assert [record.count for record in denials(log)] == [1]


def test_async_refusals_are_recorded(tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path / "data", audit=tmp_path / "log") as db:
            quotas = QuotaLimits(max_tokens_per_day=5)
            tenant = await db.create_tenant(TenantConfig(id="acme", quotas=quotas))
            with pytest.raises(errors.QuotaExceeded):
                async with tenant.operation(tokens=6):
                    pass
            await db.suspend_tenant("acme")
            with pytest.raises(errors.TenantSuspended):
                await tenant.search(VECTOR)

    asyncio.run(main())
    assert [record.kind for record in denials(tmp_path / "log")] == ["quota.charge", "tenant.use"]


def test_denial_stands_where_it_cannot_be_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog.open(tmp_path / "log")
    with llmspell.open(tmp_path / "data", audit=log) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        db.suspend_tenant("acme")
        log.close()
        with pytest.raises(errors.TenantSuspended) as caught:
            tenant.count()
    assert "not in the audit log" in caught.value.__notes__[0]
    assert "isn't in the audit log" in caplog.text


@pytest.mark.parametrize("audit", [7, b"log", object()])
def test_what_is_no_sink_is_refused(tmp_path: Path, audit: Any) -> None:
    with pytest.raises(errors.ConfigError):
        llmspell.open(tmp_path / "data", audit=audit)


def test_what_does_not_open_leaves_nothing_locked(tmp_path: Path) -> None:
    with (
        llmspell.open(tmp_path / "data"),
        pytest.raises(errors.DatabaseLocked),
    ):
        llmspell.open(tmp_path / "data", audit=tmp_path / "log")
    with pytest.raises(errors.AuditDamaged):
        llmspell.open(tmp_path / "other", audit=_damaged(tmp_path / "bad"))
    llmspell.open(tmp_path / "other").close()


def _damaged(path: Path) -> Path:
    path.mkdir()
    (path / "header.json").write_bytes(b"{}")
    return path
