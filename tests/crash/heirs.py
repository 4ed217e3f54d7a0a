"""A process that is killed while it makes a database, and its heir, which goes on from there.

Usage: ``python -m tests.crash.heirs DATA NTH`` under the recorder: with NTH above 0 it dies before
its NTH change of a name or sync, with 0 it makes what is missing and marks that as acknowledged.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import llmspell
from llmspell import errors
from tests.crash import trace
from tests.crash.script import DONE, config
from tests.crash.trace import Call
from tests.crash.writer import batch, perform

TENANT = "acme"
BATCH = 1
KILLED = -1


def main(data: str, nth: str) -> None:
    if int(nth):
        calls = Call.NAME | Call.SYNC
        ctypes.CDLL(None).crash_arm(calls, ctypes.c_long(int(nth)), KILLED, 0, 0)
    with llmspell.open(Path(data)) as database:
        try:
            tenant = database.create_tenant(config(TENANT))
        except errors.TenantExists:
            tenant = database.tenant(TENANT)
        perform(tenant, batch(BATCH))
        trace.mark(DONE, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
