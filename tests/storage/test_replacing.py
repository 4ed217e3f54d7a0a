"""Searches beside a write that replaces records: none is missing, and none comes twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, Index, QuotaLimits, Tenant, TenantConfig
from llmspell.storage.environment import Environment
from llmspell.storage.payload import PayloadIndex
from llmspell.storage.view import VectorView
from llmspell.storage.views import Views

N = 8
VECTORS = np.random.default_rng(4).standard_normal((N, 8)).astype(np.float32)
ALL = list(range(N))


class Watched:
    """A room's lock that tells when somebody asks for it."""

    def __init__(self, lock: Any, asked: threading.Event) -> None:
        self.lock, self.asked = lock, asked

    def __enter__(self) -> None:
        self.asked.set()
        self.lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self.lock.release()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data") as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    replace_all(tenant)
    tenant.search(VECTORS[0], filter={"kind": "x"})
    return tenant


def replace_all(tenant: Tenant) -> None:
    tenant.upsert(ALL, VECTORS, [{"kind": "x"}] * N)


def search(tenant: Tenant, condition: dict[str, Any] | None) -> list[Any]:
    single = tenant.search(VECTORS[0], k=N, filter=condition)
    (batch,) = tenant.search(VECTORS[:1], k=N, filter=condition)
    return [sorted(hit.id for hit in hits) for hits in (single, batch)]


STEPS = [
    (Environment, "write"),
    (VectorView, "add"),
    (PayloadIndex, "add_many"),
    (PayloadIndex, "remove_rows"),
    (VectorView, "finish"),
    (Index, "delete"),
]


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("condition", [None, {"kind": "x"}, {"kind": {"$ne": "y"}}])
def test_search_beside_each_step_of_a_write_finds_each_record_once(
    acme: Tenant,
    step: tuple[type, str],
    when: str,
    condition: dict[str, Any] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = acme._enter()
    found: list[Any] = []
    searches: list[threading.Thread] = []
    original = getattr(*step)

    def look() -> None:
        """Search until it is done or has to wait for the write."""
        asked = threading.Event()
        room.writer.lock = Watched(writers, asked)  # type: ignore[assignment]
        room.views._lock = Watched(views, asked)  # type: ignore[assignment]

        def work() -> None:
            try:
                found.append(search(acme, condition))
            finally:
                asked.set()

        searches.append(threading.Thread(target=work))
        searches[-1].start()
        assert asked.wait(30)

    def hooked(*given: Any, **named: Any) -> Any:
        if when == "before":
            look()
        result = original(*given, **named)
        if when == "behind":
            look()
        return result

    writers, views = room.writer.lock, room.views._lock
    with monkeypatch.context() as patch:
        patch.setattr(*step, hooked)
        replace_all(acme)
    for thread in searches:
        thread.join()
    assert searches
    assert found == [[ALL, ALL]] * len(searches)


@pytest.mark.parametrize("writes", [1, 5])
def test_filter_evaluated_before_a_write_is_evaluated_again(
    acme: Tenant, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [writes]
    room = acme._enter()
    allowed = Views.allowed

    def overtaken(self: Views, condition: Any) -> Any:
        rows = allowed(self, condition)
        if left[0]:
            left[0] -= 1
            # Not from under the lock, where no other writer could come in between.
            writer = threading.Thread(target=replace_all, args=(acme,))
            if not room.writer.lock._is_owned():  # type: ignore[attr-defined]
                writer.start()
                writer.join()
        return rows

    monkeypatch.setattr(Views, "allowed", overtaken)
    assert search(acme, {"kind": "x"}) == [ALL, ALL]
