"""A log's life under the recorder of tests/crash: each acknowledged record is marked in the trace.

Usage: ``python -m tests.security.audit.recorded LOG COUNT``.
"""

from __future__ import annotations

import sys

from llmspell.security import AuditLog
from llmspell.security.audit import Event
from tests.crash.trace import mark

SEGMENT_BYTES = 1 << 16


def subject(number: int) -> str:
    """Of records of all sizes, so that they cross sectors and pages everywhere."""
    return f"{number}/" + "x" * (number * 37 % 480)


def events(number: int) -> list[Event]:
    """Several at once now and then."""
    count = 30 if number % 20 == 7 else 1
    details = {"words": "word " * 90, "n": number}
    return [Event("key.change", subject(number), "done", None, details) for _ in range(count)]


def main(path: str, count: str) -> None:
    log = AuditLog.open(path, segment_bytes=SEGMENT_BYTES)
    for number in range(int(count)):
        if number % 50 == 49:
            log.close()
            log = AuditLog.open(path, segment_bytes=SEGMENT_BYTES)
        mark(0, number)
        log.append_many(events(number))
        mark(1, number)
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
