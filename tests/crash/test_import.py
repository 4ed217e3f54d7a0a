"""An import that is killed leaves nothing half, and the next one takes it up."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import llmspell
from tests.crash.imported import CONFIG, DOCUMENTS, LINES, RECORDS, fill
from tests.crash.trace import ROOT
from tests.tenancy.texts import Lines
from tests.tenancy.transfers import content

CYCLES = int(os.environ.get("LLMSPELL_IMPORT_KILLS", "25"))
RESTARTS = 8


def check_part(tenant: llmspell.Tenant, source: list[tuple[object, ...]]) -> int:
    """What is there is of the export, documents as a whole, and counted; how many records."""
    held = content(tenant)
    assert set(map(repr, held)) <= set(map(repr, source))
    chunks = [str(one[0]).rpartition("#")[0] for one in held if isinstance(one[0], str)]
    assert all(chunks.count(name) == LINES for name in set(chunks)), "a document is half there"
    used = tenant.usage()
    assert used.vectors.used == tenant.count() == len(held)
    assert used.documents.used == len(set(chunks))
    assert used.storage.used == sum(s.storage for s in tenant._enter().store.records())
    if held:
        query = held[0][1]
        assert isinstance(query, bytes)
        hits = tenant.search(memoryview(query).cast("f").tolist(), k=RECORDS + DOCUMENTS * LINES)
        assert {hit.id for hit in hits} == {one[0] for one in held}
    return len(held)


@pytest.mark.timeout(300 + 24 * CYCLES)
def test_killed_import_is_taken_up_and_leaves_nothing_half(tmp_path: Path) -> None:
    rng = random.Random(4)
    data, file = tmp_path / "data", tmp_path / "export"
    with llmspell.open(data, texts=Lines()) as database:
        tenant = fill(database)
        tenant.export(file)
        source = content(tenant)
        database.create_tenant(CONFIG)
    partial, longest = 0, 0.4
    for cycle in range(CYCLES):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.imported", str(data), str(file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        time.sleep(rng.uniform(0, longest))
        process.kill()
        process.communicate()
        with llmspell.open(data, texts=Lines()) as database:
            held = check_part(database.tenant("to"), source)
            partial += 0 < held < len(source)
            # As long as it takes, on a fast machine and on a slow one.
            longest *= 0.7 if held == len(source) else 1.0 if held else 1.5
            if held == len(source) or cycle % RESTARTS == RESTARTS - 1:
                database.drop_tenant("to")
                database.create_tenant(CONFIG)
    assert partial, "kills fell before the import or behind it"
    with llmspell.open(data, texts=Lines()) as database:
        target = database.tenant("to")
        target.import_from(file, on_conflict="skip")
        assert content(target) == source
        assert check_part(target, source) == len(source)
