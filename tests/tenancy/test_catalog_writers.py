"""A data directory whose catalog another process writes to for long."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import TenantConfig

ONE = np.ones((1, 4), dtype=np.float32)


def make_for_long(path: Path, is_writing: Event, may_end: Event) -> None:
    def configs() -> Iterator[TenantConfig]:
        yield TenantConfig(id="new")
        is_writing.set()
        may_end.wait()

    with llmspell.open(path) as db:
        db.create_tenants(configs())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(TenantConfig(id="acme")).upsert([1], ONE)
    return tmp_path / "data"


def test_opening_and_reads_wait_for_no_writer_of_the_catalog(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    is_writing, may_end = spawn.Event(), spawn.Event()
    child = spawn.Process(target=make_for_long, args=(path, is_writing, may_end))
    child.start()
    counts: list[int] = []
    made = threading.Event()

    def use() -> None:
        with llmspell.open(path) as db:
            counts.append(db.tenant("acme").count())
            maker = threading.Thread(target=make, args=(db,))
            maker.start()
            # Beside a write of this process that waits for the other one.
            counts.extend(len(db.tenants()) for _ in range(3))
            seen.set()
            maker.join()

    def make(db: llmspell.Database) -> None:
        db.create_tenant(TenantConfig(id="mine"))
        made.set()

    seen = threading.Event()
    user = threading.Thread(target=use)
    try:
        assert is_writing.wait(60)
        user.start()
        assert seen.wait(60), "it waits for the other process"
        assert counts == [1, 1, 1, 1]
        assert not made.is_set()
    finally:
        may_end.set()
        user.join()
        child.join()
    assert made.is_set()
    with llmspell.open(path) as db:
        assert [info.id for info in db.tenants()] == ["acme", "mine", "new"]
        assert db.tenant("acme").count() == 1
