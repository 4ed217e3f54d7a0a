"""Appends numbers to a list of a tenant's state, and prints each when it is acknowledged.

Usage: ``python -m tests.state.appending DATA``; it is to be killed.
"""

from __future__ import annotations

import sys

import llmspell
from llmspell.state import Append, Set

if __name__ == "__main__":
    with llmspell.open(sys.argv[1]) as database:
        state = database.tenant("acme").state
        number = state.items("list", limit=1).length
        while True:
            state.write([Append("list", [number]), Set("last", number)])
            print(number, flush=True)
            number += 1
