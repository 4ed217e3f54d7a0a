"""A flipped bit or a cut-off end in a file is named, or costs nothing: never a wrong answer."""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmspell.storage.snapshots import LEXICAL
from tests.crash.trace import ROOT

CASES = int(os.environ.get("LLMSPELL_DAMAGE_CASES", "2000"))
WORKERS = 2
#: LMDB believes the length of a value that it reads; one that leads behind the end of the file
#: kills the process. Nothing else does, and that is rare.
MAY_DIE = 0.01


def run(share: int, names: str = ".*") -> list[str]:
    """What became of so many cases by each worker, a line for each."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.damage", str(i * share), str(share), names],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(WORKERS)
    ]
    # All at once: one whose output nobody reads waits.
    with ThreadPoolExecutor(len(workers)) as readers:
        outputs = list(readers.map(lambda worker: worker.communicate()[0], workers))
    assert [worker.returncode for worker in workers] == [0] * WORKERS, outputs
    return [line for output in outputs for line in output.splitlines()]


@pytest.mark.timeout(300 + CASES)
def test_damaged_file_gives_a_named_error_or_right_answers() -> None:
    share = -(-CASES // WORKERS)
    lines = run(share)
    died = [line for line in lines if line.startswith("died ") and "data.mdb" in line]
    bad = [line for line in lines if not line.startswith(("right ", "named ")) and line not in died]
    again = "python -m tests.crash.damage SEED"
    assert not bad, "\n".join([again, *bad[:20]])
    assert len(died) <= MAY_DIE * CASES, "\n".join([again, *died])
    assert len(lines) == share * WORKERS
    hit = collections.Counter(line.split(",")[0].split(".")[-1] for line in lines)
    assert hit["snap"] > CASES // 10, hit


def test_a_damaged_snapshot_of_words_is_made_anew_from_the_log() -> None:
    lines = run(5, re.escape(LEXICAL))
    assert [line for line in lines if not line.startswith("right ")] == []
    assert len(lines) == 5 * WORKERS
