"""A process that reads a tenant and doesn't come to an end: its parent stops or kills it.

Usage: ``python -m tests.crash.reading DATA``. It exports to its standard output, which is a pipe
that is read to its end, or not.
"""

from __future__ import annotations

import sys

import llmspell


def main() -> None:
    with llmspell.open(sys.argv[1]) as db:
        db.tenant("acme").export(sys.stdout.buffer)


if __name__ == "__main__":
    main()
