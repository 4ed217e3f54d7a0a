"""Logs to test with, and their lines."""

from __future__ import annotations

from pathlib import Path

from llmspell.security import AuditLog

KEY = b"k" * 32


def lines_of(path: Path) -> list[bytes]:
    """All lines of a log, segment after segment."""
    return [
        line for file in sorted(path.glob("*.jsonl")) for line in file.read_bytes().splitlines(True)
    ]


def fill(path: Path, count: int, *, key: bytes | None = None, segment_bytes: int = 1 << 16) -> None:
    """Append so many steps."""
    with AuditLog.open(path, key=key, segment_bytes=segment_bytes) as log:
        for number in range(count):
            log.append("tenant.update", subject=f"tenant {number}", tenant=f"t{number % 3}")
