"""A process that is killed loses nothing of the state that it had acknowledged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig

ROOT = Path(__file__).parents[2]


def list_of(tenant: Tenant) -> list[int]:
    """What was appended: on a fast machine, more than one call gives."""
    found: list[int] = []
    while page := tenant.state.items("list", len(found)).values:
        found += page
    return found


def test_a_kill_loses_no_write_and_leaves_none_by_halves(tmp_path: Path) -> None:
    data, rng = tmp_path / "data", random.Random(5)
    with llmspell.open(data) as db:
        db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.state.appending", str(data)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(rng.expovariate(20))
        writer.send_signal(signal.SIGKILL)
        lines = [first, *writer.communicate()[0].splitlines(keepends=True)]
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        with llmspell.open(data) as db:
            acme = db.tenant("acme")
            found = list_of(acme)
            assert found == list(range(len(found)))
            assert acknowledged <= found[-1] <= acknowledged + 1
            assert acme.state.get("last") == found[-1]
            assert acme.scrub().is_sound
