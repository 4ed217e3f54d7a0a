"""A writer killed at any moment loses no acknowledged write and leaves no half batch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import llmspell
from llmspell import Tenant
from llmspell.storage import Durability
from tests.crash.writer import CONFIG, DIM, Batch, batch, perform

CYCLES = int(os.environ.get("LLMSPELL_CRASH_CYCLES", "50"))
ROOT = Path(__file__).parents[2]


class Model:
    """What there should be after some batches: the ten-line store."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[int, np.ndarray]] = {}
        self.documents: set[str] = set()

    def apply(self, one: Batch) -> None:
        if one.kind == "document":
            name = one.ids[0].split("#")[0]
            self.documents.add(name)
            for gone in [key for key in self.records if key.split("#")[0] == name]:
                del self.records[gone]
        for key, vector in zip(one.ids, one.vectors, strict=True):
            if one.kind == "delete":
                self.records.pop(key, None)
            else:
                self.records[key] = (one.number, vector)

    def holds(self, tenant: Tenant) -> bool:
        """Whether the records of the tenant are exactly these."""
        found = {}
        for stored in tenant._enter().store.records():
            found[stored.key[1:].decode()] = (stored.metadata["batch"], stored.text)
        return found == {
            key: (number, f"batch {number}") for key, (number, _) in self.records.items()
        }


class Killed(NamedTuple):
    """Numbers of the last batch begun, acknowledged and known to be on disk."""

    begun: int
    done: int
    durable: int


def kill_at_random(data: Path, first: int, durability: Durability, seconds: float) -> Killed:
    """Run a writer for so long and kill it."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.writer", str(data), str(first), durability],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    last = {"begin": first - 1, "done": first - 1, "durable": first - 1}
    first_line = writer.stdout.readline()
    assert first_line == f"begin {first}\n"
    time.sleep(seconds)
    writer.send_signal(signal.SIGKILL)
    for line in [first_line, *writer.communicate()[0].splitlines(keepends=True)]:
        if line.endswith("\n"):
            what, number = line.split()
            last[what] = int(number)
    # A call that returns with "sync" is on disk, whether the writer came to say so or not.
    durable = last["done"] if durability == "sync" else last["durable"]
    return Killed(last["begin"], last["done"], durable)


def check_counters(tenant: Tenant, model: Model) -> None:
    store = tenant._enter().store
    recount = sum(stored.storage for stored in store.records())
    usage = tenant.usage()
    assert store.counters().vectors == usage.vectors.used == tenant.count() == len(model.records)
    assert store.counters().storage == usage.storage.used == recount
    assert store.counters().documents == usage.documents.used == len(model.documents)


def check_index(tenant: Tenant, model: Model, rng: np.random.Generator) -> None:
    """Answers are those of an exact sweep; every vector finds itself."""
    if not model.records:
        return
    keys = list(model.records)
    matrix = np.stack([vector for _, vector in model.records.values()])
    for query in rng.standard_normal((3, DIM)).astype(np.float32):
        best = np.sort(matrix @ query)[::-1][:10]
        hits = tenant.search(query, k=10)
        np.testing.assert_allclose([hit.score for hit in hits], best, rtol=1e-4, atol=1e-5)
    for i in rng.choice(len(keys), min(5, len(keys)), replace=False):
        stored = tenant.get(keys[i])
        assert np.array_equal(stored.vector, matrix[i])
        hits = tenant.search(matrix[i], k=len(keys))
        assert len(hits) == len(keys)
        assert {hit.id for hit in hits} == set(keys)


@pytest.mark.timeout(300 + 12 * CYCLES)
@pytest.mark.parametrize("durability", ["sync", "batch", "async"])
def test_killed_writer_leaves_all_that_it_was_promised(
    tmp_path: Path, durability: Durability
) -> None:
    """What is there are the first batches, and none of those that must be on disk is missing."""
    rng = random.Random(20)
    data = tmp_path / "data"
    with llmspell.open(data) as db:
        db.create_tenant(CONFIG)
    model = Model()
    number, in_flight, lost, mean = 1, 0, 0, 0.04
    for _ in range(CYCLES):
        killed = kill_at_random(data, number, durability, rng.expovariate(1 / mean))
        mean *= 1.0 if killed.done >= number else 1.2  # until there is time for some batches
        for known in range(number, killed.durable + 1):
            model.apply(batch(known))
        # The next to be written: of the others any number of the first ones may be there.
        number = killed.durable + 1
        in_flight += killed.begun > killed.done
        with llmspell.open(data) as db:
            tenant = db.tenant(CONFIG.id)
            while not model.holds(tenant):
                assert number <= killed.begun, "what is there are not the first batches"
                model.apply(batch(number))
                number += 1
            lost += number <= killed.done
            check_counters(tenant, model)
            check_index(tenant, model, np.random.default_rng(number))
    assert number > CYCLES / 4, "the writer was killed before it wrote anything worth the name"
    assert in_flight > CYCLES // 2 or durability != "sync", "kills fell between the batches"
    assert bool(lost) == (durability != "sync"), "nothing waited when the writers were killed"


def test_model_of_this_test_agrees_with_an_undisturbed_writer(tmp_path: Path) -> None:
    model = Model()
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(CONFIG)
        for number in range(1, 60):
            perform(tenant, batch(number))
            model.apply(batch(number))
        assert model.holds(tenant)
        check_counters(tenant, model)
        check_index(tenant, model, np.random.default_rng(0))
        perform(tenant, batch(60))
        assert not model.holds(tenant)
