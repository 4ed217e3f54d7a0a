"""A short life of a database, and what there must be after each of its steps.

Usage: ``python -m tests.crash.script DATA USAGE STEPS DURABILITY`` under the recorder: lives it
once, marks each step in the trace, and writes what the tenants' quotas show after each to the file
USAGE; but for "sync" nothing, because who looks at quotas commits what waits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

import llmspell
from llmspell import Database, QuotaLimits, TenantConfig, errors
from llmspell.storage import Durability, view
from tests.crash import trace
from tests.crash.writer import DIM, WRITE_BATCH_SIZE, Batch, batch, is_flushed, perform

BEGIN, DONE = 0, 1
OPEN, REOPEN, CREATE, DROP, WRITE = "open", "reopen", "create", "drop", "write"

#: Of each tenant, by step: documents, vectors and bytes in use.
Usage = dict[str, list[int]]


@dataclass(frozen=True)
class Step:
    """What step ``number`` does; one is acknowledged when it has returned."""

    number: int
    kind: str
    tenant: str = ""

    @property
    def batch(self) -> Batch:
        return batch(self.number)


def steps(count: int) -> list[Step]:
    """The first steps of the script: two tenants, one of which is dropped and made again."""
    planned = [Step(0, OPEN), Step(1, CREATE, "acme"), Step(2, CREATE, "acme-corp")]
    for number in range(3, count):
        at = number % 50
        if at in (17, 33):
            planned.append(Step(number, REOPEN))
        elif at in (25, 26):
            planned.append(Step(number, DROP if at == 25 else CREATE, "acme-corp"))
        else:
            planned.append(Step(number, WRITE, "acme-corp" if number % 4 == 0 else "acme"))
    return planned


class Records:
    """What a tenant holds: by id the number of the batch that wrote it, and its vector."""

    def __init__(self) -> None:
        self.documents: set[str] = set()
        self.held: dict[str, tuple[int, np.ndarray]] = {}

    def apply(self, one: Batch) -> None:
        if one.kind == "document":
            name = one.ids[0].split("#")[0]
            self.documents.add(name)
            self.held = {key: held for key, held in self.held.items() if key.split("#")[0] != name}
        for key, vector in zip(one.ids, one.vectors, strict=True):
            if one.kind == "delete":
                self.held.pop(key, None)
            else:
                self.held[key] = (one.number, vector)


def expected(done: list[Step]) -> dict[str, Records]:
    """What there is after some steps, by tenant."""
    tenants: dict[str, Records] = {}
    for step in done:
        if step.kind == CREATE:
            tenants[step.tenant] = Records()
        elif step.kind == DROP:
            tenants.pop(step.tenant, None)
        elif step.kind == WRITE and step.tenant in tenants:
            tenants[step.tenant].apply(step.batch)
    return tenants


def candidates(steps: list[Step], tenant: str, done: int) -> Iterator[Records]:
    """What a tenant may hold if upserts waited to be committed: from the least on.

    Args:
        steps: those that were begun.
        done: how many of them were acknowledged.
    """
    numbers = [step.number for step in steps if step.kind == CREATE and step.tenant == tenant]
    writes = [step for step in steps[numbers[-1] :] if step.kind == WRITE and step.tenant == tenant]
    durable = 0
    for step in steps[:done]:
        is_own = step.kind == WRITE and step.tenant == tenant and step.batch.kind != "upsert"
        if is_own or step.kind == REOPEN or (step.kind == WRITE and is_flushed(step.batch)):
            durable = step.number
    records = Records()
    for step in writes:
        if step.number > durable:
            yield records
        records.apply(step.batch)
    yield records


def config(tenant: str) -> TenantConfig:
    # Below the graph's threshold answers are exact, and can be compared to a sweep.
    return TenantConfig(id=tenant, metric="ip", quotas=QuotaLimits.unlimited())


class Life:
    """A database that does the steps."""

    def __init__(self, data: Path, durability: Durability = "sync") -> None:
        # Often, so that cuts and faults fall into snapshots and trims as well.
        view.SNAPSHOT_ROWS = 60
        self._data = data
        self._durability = durability
        self.database: Database | None = None

    def do(self, step: Step) -> Database:
        if step.kind in (OPEN, REOPEN) or self.database is None:
            self.close()
            self.database = llmspell.open(
                self._data,
                durability=self._durability,
                flush_interval=3600.0,
                write_batch_size=WRITE_BATCH_SIZE,
            )
        if step.kind == CREATE:
            self.database.create_tenant(config(step.tenant))
        elif step.kind == DROP:
            self.database.drop_tenant(step.tenant)
        elif step.kind == WRITE:
            perform(self.database.tenant(step.tenant), step.batch)
            if is_flushed(step.batch):
                self.database.flush()
        return self.database

    def close(self) -> None:
        database, self.database = self.database, None
        if database is not None:
            database.close()


def usage(database: Database) -> Usage:
    """Documents, vectors and bytes in use, by tenant."""
    found = {}
    for info in database.tenants():
        used = database.tenant(info.config.id).usage()
        found[info.config.id] = [used.documents.used, used.vectors.used, used.storage.used]
    return found


def check(database: Database, tenants: dict[str, Records], used: Usage | None) -> None:
    """Whether a database holds exactly that, and finds it."""
    listed = [info.config.id for info in database.tenants()]
    assert listed == sorted(tenants), f"tenants {listed}, expected {sorted(tenants)}"
    for name, records in tenants.items():
        tenant = database.tenant(name)
        count = tenant.count()
        assert count == len(records.held), f"{name}: {count} records, not {len(records.held)}"
        ids = list(records.held)
        for key, got in zip(ids, tenant.get(ids) if ids else [], strict=True):
            number, vector = records.held[key]
            assert (got.id, got.text, got.metadata["batch"]) == (key, f"batch {number}", number), (
                f"{name}: {key} is {got.text}, not batch {number}"
            )
            assert np.array_equal(got.vector, vector), f"{name}: {key} has another vector"
        try:
            tenant.get("never written")
            raise AssertionError(f"{name}: there is a record that nobody wrote")
        except errors.IdNotFound:
            pass
        _check_search(database, name, records)
    if used is not None:
        found = usage(database)
        assert found == used, f"usage is {found}, expected {used}"


def _check_search(database: Database, name: str, records: Records) -> None:
    """Answers are those of an exact sweep."""
    queries = np.random.default_rng(7).standard_normal((3, DIM)).astype(np.float32)
    answers = database.tenant(name).search(queries, k=10)
    ids = list(records.held)
    matrix = np.array([vector for _, vector in records.held.values()]).reshape(len(ids), DIM)
    for query, hits in zip(queries, answers, strict=True):
        scores = matrix @ query
        best = np.argsort(-scores, kind="stable")[:10]
        wanted = [(ids[i], records.held[ids[i]][0]) for i in best]
        got = [(hit.id, hit.metadata["batch"]) for hit in hits]
        assert got == wanted, f"{name}: a search finds {got}, expected {wanted}"
        np.testing.assert_allclose([hit.score for hit in hits], scores[best], rtol=1e-4, atol=1e-5)


def main(data: str, to: str, count: str, durability: Durability) -> None:
    used: list[Usage] = []
    life = Life(Path(data), durability)
    for step in steps(int(count)):
        trace.mark(BEGIN, step.number)
        database = life.do(step)
        trace.mark(DONE, step.number)
        used.append(usage(database) if durability == "sync" else {})
    life.close()
    Path(to).write_text(json.dumps(used))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], cast("Durability", sys.argv[4]))
