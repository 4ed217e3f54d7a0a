"""A flipped bit or a cut-off end in a file is named, or costs nothing: never a wrong answer."""

from __future__ import annotations

import collections
import os
import subprocess
import sys

from tests.crash.trace import ROOT

CASES = int(os.environ.get("LLMSPELL_DAMAGE_CASES", "2000"))
WORKERS = 2
#: Records in LMDB's file carry checksums, the pages around them none: what hits those isn't always
#: found.
PROTECTED = r"(?!data\.mdb).*"


def test_damaged_file_gives_a_named_error_or_right_answers() -> None:
    share = -(-CASES // WORKERS)
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.damage", str(i * share), str(share), PROTECTED],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(WORKERS)
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS, outputs
    lines = [line for output in outputs for line in output.splitlines()]
    bad = [line for line in lines if not line.startswith(("right ", "named "))]
    again = f"python -m tests.crash.damage SEED 1 '{PROTECTED}'"
    assert not bad, "\n".join([again, *bad[:20]])
    assert len(lines) == share * WORKERS
    hit = collections.Counter(line.split(",")[0].split(".")[-1] for line in lines)
    assert hit["snap"] > CASES // 10, hit
