"""Databases and tenants: made, listed, closed, dropped, made again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, IndexParams, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import FileLock
from llmspell.tenancy import Registry
from tests.tenancy.ledgers import shares_ledger

ONE = np.ones((1, 4), dtype=np.float32)


def everything_fails(tenant: Tenant, error: type[Exception]) -> None:
    calls: list[Callable[[], object]] = [
        lambda: tenant.upsert([1], ONE),
        lambda: tenant.get(1),
        lambda: tenant.delete(1),
        lambda: tenant.search(ONE[0]),
        lambda: tenant.ingest("x"),
        tenant.count,
    ]
    for call in calls:
        with pytest.raises(error):
            call()


def test_config_comes_back_whole(db: Database) -> None:
    config = TenantConfig(
        id="ä/..\\x",
        name="Ä",
        quotas=QuotaLimits(max_vectors=None, max_documents=3),
        dim=12,
        metric="l2",
        index=IndexParams.performance(),
    )
    db.create_tenant(config)
    assert db.tenant("ä/..\\x").config == config
    (info,) = db.tenants()
    assert (info.config, info.id, info.name, info.generation) == (config, config.id, "Ä", 1)
    assert timedelta(0) <= datetime.now(UTC) - info.created_at < timedelta(minutes=1)


def test_tenants_are_listed_by_id(db: Database) -> None:
    for name in ("b", "a", "C", "ä"):
        db.create_tenant(TenantConfig(id=name))
    assert [info.id for info in db.tenants()] == ["C", "a", "b", "ä"]
    assert [info.name for info in db.tenants()] == ["C", "a", "b", "ä"]


def test_tenant_of_the_same_id_is_refused(db: Database) -> None:
    db.create_tenant(TenantConfig(id="a"))
    with pytest.raises(errors.TenantExists, match="'a'"):
        db.create_tenant(TenantConfig(id="a"))


def test_unknown_tenant_is_named(db: Database) -> None:
    with pytest.raises(errors.TenantNotFound, match="'nobody'"):
        db.tenant("nobody")
    with pytest.raises(errors.TenantNotFound, match="'nobody'"):
        db.drop_tenant("nobody")


def test_handles_of_one_tenant_see_the_same_data(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    assert db.tenant("acme").get(1).id == 1


def test_closed_handle_refuses_and_others_go_on(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    other = db.tenant("acme")
    acme.close()
    acme.close()
    everything_fails(acme, errors.ClosedError)
    assert other.count() == 1
    other.close()
    assert db.tenant("acme").count() == 1


def test_last_handle_closes_the_room(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    acme.close()
    (room,) = (path.parent for path in db.path.glob("tenants/*/*/data.mdb"))
    FileLock(room / "writer.lock", timeout=0, holder="test").release()


def test_closed_database_refuses_everything(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    db.close()
    db.close()
    everything_fails(acme, errors.ClosedError)
    for call in (
        lambda: db.tenant("acme"),
        db.tenants,
        lambda: db.create_tenant(TenantConfig(id="b")),
        lambda: db.drop_tenant("acme"),
        db.metrics,
    ):
        with pytest.raises(errors.ClosedError):
            call()


def test_second_open_in_one_process_is_refused(db: Database) -> None:
    with pytest.raises(errors.DatabaseLocked, match="open in this process already"):
        llmspell.open(db.path)


@pytest.mark.parametrize(
    "options",
    [
        {"map_size": 10},
        {"map_size": 1.5},
        {"lock_timeout": -1},
        {"lock_timeout": "x"},
        {"on_event": 5},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(options))):
        llmspell.open(tmp_path, **options)  # type: ignore[arg-type]


def test_dropped_tenant_is_gone_with_all_of_its_handles(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE, texts="secret-of-acme")
    other = db.tenant("acme")
    untouched = db.tenant("acme")
    other.count()
    db.drop_tenant("acme")
    for handle in (acme, other, untouched):
        everything_fails(handle, errors.TenantNotFound)
        with pytest.raises(errors.TenantNotFound):
            handle.usage()
    assert db.tenants() == []
    for path in db.path.rglob("*"):
        assert path.is_dir() or b"secret-of-acme" not in path.read_bytes()
    assert not list(db.path.glob("tenants/*/*"))


def test_tenant_made_again_is_another_one(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    db.drop_tenant("acme")
    again = db.create_tenant(TenantConfig(id="acme"))
    assert again.generation > acme.generation
    assert again.count() == 0
    assert again.usage().vectors.used == 0
    everything_fails(acme, errors.TenantNotFound)


def test_interrupted_drop_is_finished_by_the_next_opening(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.upsert([1], ONE)

    def crash(self: Registry, entry: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Registry, "erase", crash)
    with pytest.raises(KeyboardInterrupt):
        db.drop_tenant("acme")
    monkeypatch.undo()
    db.close()
    assert list(db.path.glob("tenants/*/*"))
    with llmspell.open(db.path) as again:
        assert again.tenants() == []
        assert not list(db.path.glob("tenants/*/*"))


WORKER = """
import sys, llmspell
from llmspell import errors
with llmspell.open(sys.argv[1], lock_timeout=0.1) as db:
    for name in sys.argv[2:]:
        try:
            if name == "drop":
                db.drop_tenant("acme")
            else:
                db.tenant(name).upsert(["from-other"], [[1.0, 2.0, 3.0, 4.0]])
            print("done")
        except errors.LlmspellError as error:
            print(type(error).__name__)
"""


def in_other_process(db: Database, *names: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(db.path), *names],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()


@shares_ledger
def test_other_process_waits_for_the_writer_of_the_same_tenant_only(
    db: Database, acme: Tenant
) -> None:
    db.create_tenant(TenantConfig(id="other"))
    acme.upsert([1], ONE)
    with acme._enter().alone():
        assert in_other_process(db, "acme", "drop", "other") == ["DatabaseLocked"] * 2 + ["done"]
    assert db.tenant("other").get("from-other").id == "from-other"
    assert in_other_process(db, "acme") == ["done"]
    assert acme.count() == 2
    assert {hit.id for hit in acme.search(ONE[0])} == {1, "from-other"}


def test_tenant_dropped_by_another_process_is_not_found(db: Database, acme: Tenant) -> None:
    assert in_other_process(db, "drop") == ["done"]
    everything_fails(acme, errors.TenantNotFound)
    db.create_tenant(TenantConfig(id="acme"))
    everything_fails(acme, errors.TenantNotFound)


def test_handles_from_before_fork_are_refused_in_the_child(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    idle = db.create_tenant(TenantConfig(id="idle"))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            everything_fails(acme, errors.UseAfterFork)
            everything_fails(idle, errors.UseAfterFork)
            with pytest.raises(errors.UseAfterFork):
                db.tenant("acme")
            with pytest.raises(errors.UseAfterFork):
                llmspell.open(db.path)
            acme.close()
            db.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert acme.count() == 1
    acme.upsert([2], ONE)
    assert len(acme.search(ONE[0])) == 2


def test_declared_dimension_is_kept(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="a", dim=4))
    assert tenant.dim == 4
    with pytest.raises(errors.DimensionMismatch, match="4 expected, got 3"):
        tenant.upsert([1], np.ones((1, 3), dtype=np.float32))
    tenant.upsert([1], ONE)


def test_version_agrees_with_the_distribution() -> None:
    from importlib.metadata import version

    assert llmspell.__version__ == version("llmspell")


def test_tenants_are_listed_by_pages(db: Database) -> None:
    names = [
        "acme",
        "acme-corp",
        "Ä",
        "ä",
        "ﬁ",
        "fi",
        "a" * 128,
        "\U0001f600" * 128,
        "z/../z",
        "..",
    ]
    for name in names:
        db.create_tenant(TenantConfig(id=name))
    listed = [info.id for info in db.tenants()]
    assert listed == sorted(names, key=lambda name: name.encode())
    paged: list[str] = []
    while page := db.tenants(after=paged[-1] if paged else None, limit=3):
        assert len(page) <= 3
        paged += [info.id for info in page]
    assert paged == listed
    assert [info.id for info in db.tenants(after="b", limit=1)] == ["fi"]
    assert db.tenants(limit=0) == []
    with pytest.raises(errors.InputError, match="limit"):
        db.tenants(limit=-1)


def test_tenants_whose_long_names_differ_at_the_end_differ(db: Database) -> None:
    names = ["\U0001f600" * 127 + last for last in ("a", "b", "\U0001f600")]
    for number, name in enumerate(names):
        db.create_tenant(TenantConfig(id=name)).upsert([number], ONE)
    assert [db.tenant(name).get(i).id for i, name in enumerate(names)] == [0, 1, 2]
    db.drop_tenant(names[1])
    assert len(db.tenants()) == 2
