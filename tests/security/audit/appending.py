"""A process that appends to a log until it is killed, and says which records were acknowledged.

Usage: ``python -m tests.security.audit.appending LOG ACKNOWLEDGED NAME COUNT``; each record that
was acknowledged is a line of the file ACKNOWLEDGED.
"""

from __future__ import annotations

import os
import sys

from llmspell.security import AuditLog


def main(log: str, acknowledged: str, name: str, count: str) -> None:
    notes = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with AuditLog.open(log, segment_bytes=1 << 16, lock_timeout=60) as opened:
        for number in range(int(count)):
            subject = f"{name}/{number}" + "x" * (number % 5 * 90)
            opened.append("key.change", subject=subject, details={"n": number})
            os.write(notes, f"{subject}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
