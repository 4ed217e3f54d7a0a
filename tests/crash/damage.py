"""A flipped bit or a cut-off end in any file of a closed database: what does it answer then?

Usage: ``python -m tests.crash.damage FIRST COUNT``: damages one file by each seed, reads
everything, writes, and reads again, in a process of its own. Prints what came of it, a line for
each seed: ``right`` (all answers are), ``named`` (and some are errors of llmspell), ``wrong`` (an
answer), ``unnamed`` (another error), ``died`` (the process). With a third argument it
damages only files whose names match that regular expression.
"""

from __future__ import annotations

import functools
import logging
import random
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

import llmspell
from llmspell import Record, Tenant, errors
from llmspell.storage.snapshots import LEXICAL
from tests.crash.faults import apart
from tests.crash.killed import check_words
from tests.crash.script import Life, Records, expected, steps
from tests.crash.trace import MEMORY
from tests.crash.writer import DIM

STEPS = steps(40)


def build(data: Path) -> None:
    """Live the script, and close."""
    life = Life(data)
    for step in STEPS:
        database = life.do(step)
    for name in expected(STEPS):
        # Saves its lexical index as it closes.
        database.tenant(name).retrieve("batch", mode="lexical")
    life.close()


def read_files(data: Path, names: str) -> dict[Path, bytes]:
    """Files of a database whose names match, by their paths in it."""
    return {
        path.relative_to(data): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and re.fullmatch(names, path.name)
    }


def damage(rng: random.Random, files: dict[Path, bytes]) -> tuple[Path, bytes, str]:
    """The file to damage, what it is then, and where that is."""
    names = sorted(path for path, raw in files.items() if raw)
    # Large files often, small ones often enough.
    weights = [max(12.0, len(_used(files[name])) ** 0.5) for name in names]
    name = rng.choices(names, weights)[0]
    raw = bytearray(files[name])
    if rng.random() < 0.25:
        size = rng.choice((rng.randrange(len(raw)), rng.randrange(len(raw) // 512 + 1) * 512))
        return name, bytes(raw[:size]), f"cut to {size} of {len(raw)}"
    used = _used(files[name])
    if rng.random() < 0.3:
        # Where a page begins, there is what holds it together.
        used = [at for at in used if at % 4096 == 0]
    at = min(rng.choice(used) + rng.randrange(64), len(raw) - 1)
    bit = rng.randrange(8)
    raw[at] ^= 1 << bit
    return name, bytes(raw), f"bit {bit} of byte {at}"


@functools.cache
def _used(raw: bytes) -> list[int]:
    """Where a file isn't zero, by cache lines: most of the ledger is."""
    return [at for at in range(0, len(raw), 64) if any(raw[at : at + 64])]


class Witness:
    """Asks a database everything, and keeps the worst of what came of it."""

    RANKS = ("right", "named", "unnamed", "wrong")

    def __init__(self, *, asks_words: bool) -> None:
        self._asks_words = asks_words
        self.verdict = "right"
        self.why = ""

    def ask(self, what: str, body: Callable[[], object]) -> object:
        try:
            return body()
        # That something isn't there, though it is, is an answer, and a wrong one.
        except (AssertionError, errors.IdNotFound, errors.TenantNotFound) as error:
            self._note("wrong", f"{what}: {type(error).__name__}: {error}")
        except errors.LlmspellError as error:
            self._note("named", f"{what}: {type(error).__name__}: {error}")
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._note("unnamed", f"{what}: {error!r} in {frame.filename}:{frame.lineno}")
        return None

    def read(self, data: Path, tenants: dict[str, Records]) -> None:
        with llmspell.open(data) as database:
            self.ask(
                "tenants", lambda: self._same([t.config.id for t in database.tenants()], tenants)
            )
            for name, records in tenants.items():
                tenant = self.ask(name, lambda name=name: database.tenant(name))
                if isinstance(tenant, Tenant):
                    self._read_tenant(tenant, records)

    def write(self, data: Path, tenants: dict[str, Records]) -> None:
        """Replace, add and delete, so that free pages are used; what failed isn't in the model."""
        rng = np.random.default_rng(8)
        with llmspell.open(data) as database:
            for name, records in tenants.items():
                tenant = self.ask(name, lambda name=name: database.tenant(name))
                if not isinstance(tenant, Tenant):
                    continue
                for key in [*list(records.held)[:3], "probe", "other"]:
                    row = rng.standard_normal((1, DIM)).astype(np.float32)
                    if self.ask("upsert", functools.partial(self._put, tenant, key, row)):
                        records.held[key] = (0, row[0])
                gone = list(records.held)[-3:]
                if self.ask("delete", lambda tenant=tenant, gone=gone: (tenant.delete(gone),)):
                    for key in gone:
                        del records.held[key]

    def _put(self, tenant: Tenant, key: str, row: np.ndarray) -> bool:
        tenant.upsert(key, row, {"batch": 0}, "batch 0")
        return True

    def _read_tenant(self, tenant: Tenant, records: Records) -> None:
        self.ask("count", lambda: self._same(tenant.count(), len(records.held)))
        self.ask("usage", lambda: self._same(tenant.usage().vectors.used, len(records.held)))
        ids = list(records.held)
        try:
            for key, got in zip(ids, tenant.get(ids), strict=True):
                self._compare(got, key, *records.held[key])
        except Exception:
            # One by one, so that a named error for one doesn't hide a wrong answer for another.
            for key in ids:
                self.ask(
                    f"get {key}",
                    lambda key=key: self._compare(tenant.get(key), key, *records.held[key]),
                )
        matrix = np.array([vector for _, vector in records.held.values()])
        queries = np.random.default_rng(7).standard_normal((3, DIM)).astype(np.float32)
        for query in queries:
            self.ask("search", lambda query=query: self._search(tenant, query, records, matrix))

        if self._asks_words:
            self.ask("words", lambda: check_words(tenant, records))

    def _compare(self, got: Record, key: str, number: int, vector: np.ndarray) -> None:
        self._same((got.id, got.text, got.metadata["batch"]), (key, f"batch {number}", number))
        self._same(got.vector.tobytes(), vector.tobytes())

    def _search(
        self, tenant: Tenant, query: np.ndarray, records: Records, matrix: np.ndarray
    ) -> None:
        hits = tenant.search(query, k=10)
        ids = list(records.held)
        best = [ids[i] for i in np.argsort(-(matrix @ query), kind="stable")[:10]]
        found = []
        for hit in hits:
            # A record whose text doesn't hold is an error where it is read; others aren't hurt.
            self.ask("hit", lambda hit=hit: found.append((hit.id, hit.text)))
        if len(found) == len(hits):
            self._same(found, [(key, f"batch {records.held[key][0]}") for key in best])

    def _same(self, got: object, wanted: object) -> None:
        wanted = sorted(wanted) if isinstance(wanted, dict) else wanted
        assert got == wanted, f"{got!r:.300}, expected {wanted!r:.300}"

    def _note(self, verdict: str, why: str) -> None:
        if self.RANKS.index(verdict) > self.RANKS.index(self.verdict):
            self.verdict, self.why = verdict, why


def examine(data: Path, *, asks_words: bool) -> tuple[str, str]:
    """What a damaged database answers, at first, then behind some writes, then opened again."""
    witness = Witness(asks_words=asks_words)
    tenants = expected(STEPS)
    witness.ask("opening", lambda: witness.read(data, tenants))
    witness.ask("opening to write", lambda: witness.write(data, tenants))
    witness.ask("opening again", lambda: witness.read(data, tenants))
    return witness.verdict, witness.why


def main(first: str, count: str = "1", names: str = ".*") -> None:
    logging.getLogger("llmspell").setLevel(logging.CRITICAL)
    base = Path(tempfile.mkdtemp(dir=MEMORY))
    try:
        # In a process of its own, for this one is forked later.
        apart(lambda: build(base / "whole"))
        files = read_files(base / "whole", names)
        for seed in range(int(first), int(first) + int(count)):
            name, raw, where = damage(random.Random(seed), files)
            data = base / "damaged"
            shutil.copytree(base / "whole", data)
            (data / name).write_bytes(raw)
            asks_words = name.name == LEXICAL
            result = apart(functools.partial(examine, data, asks_words=asks_words))
            verdict, why = (
                ("died", result["died"].splitlines()[-1]) if isinstance(result, dict) else result
            )
            print(f"{verdict} {seed} {name}, {where}: {why.strip()}", flush=True)
            shutil.rmtree(data)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main(*sys.argv[1:])
