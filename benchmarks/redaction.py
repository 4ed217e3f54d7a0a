"""How long redaction takes as text grows, on texts made to make patterns try in vain.

``python -m benchmarks.redaction`` prints nanoseconds of CPU time per character at 1, 2, 4 and 8
times a size. Work that is linear gives the same figure in all columns; the last is the largest over
the smallest.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
from string import ascii_letters

from llmspell.security.redaction import Redactor

_LETTERS = random.Random(2)

# Beginnings of what many patterns look for, over and over, so that each is tried everywhere.
HOSTILE = {
    "letters": "a",
    "openai": "sk-",
    "assignment": "password=",
    "chain": "key=",
    "marked chain": "".join(
        f"key={value:04x}" + ("..." if value % 8 == 0 else "") for value in range(400)
    ),
    "marked tokens": "".join(
        f"token:{_LETTERS.choice(ascii_letters)}{_LETTERS.choice(ascii_letters)}"
        + ("..." if value % 8 == 0 else "")
        for value in range(30_000)
    ),
    "words in a name": "key" * 10 + "=aaaa ",
    "distinct names": "".join("n" * 42 + f"{n:08x}" + "key" * 10 + "=aaaa " for n in range(3000)),
    "cookies": "cookie:a=a;",
    "quoted": 'key:"',
    "long name": "token_" * 5,
    "jwt": "eyJ",
    "jwt parts": "eyJhbGciOiJIUzI1NiIs.",
    "pem begin": "-----BEGIN PRIVATE KEY-----",
    "pem body": "-----BEGIN PRIVATE KEY-----" + "MIIE" * 3000,
    "address": "a://b:",
    "bearer": "bearer ",
    "curl": "curl -u ",
    "spaces": "key" + " " * 19 + ":" + " " * 19,
    "slack": "xoxb-1111111111-",
    "discord": "M" + "a" * 24 + ".",
    "escapes": 'pwd="' + "\\a" * 2000,
}


def log_text(size: int, draw: random.Random) -> str:
    """Lines of an ordinary log, with an assigned key in one of fifty."""
    lines = []
    length = 0
    while length < size:
        line = (
            f"2026-03-01T10:22:{draw.randrange(60):02}Z INFO worker-{draw.randrange(16)} handled "
            f"GET /v1/items/{draw.getrandbits(64):016x} in {draw.randrange(900)} ms for tenant acme"
        )
        if draw.randrange(50) == 0:
            line += f" api_key={draw.getrandbits(128):032x}"
        lines.append(line)
        length += len(line) + 1
    return "\n".join(lines)[:size]


def nanoseconds(redactor: Redactor, text: str, repeats: int) -> float:
    """The best of several runs, per character."""
    best = float("inf")
    for _ in range(repeats):
        start = time.thread_time_ns()
        redactor.redact(text)
        best = min(best, time.thread_time_ns() - start)
    return best / len(text)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32_000, help="characters of the first column")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {sys.version.split()[0]}; ns per character")
    redactor = Redactor()
    texts = {"log": log_text(8 * arguments.size, random.Random(1))}
    texts |= {
        name: (piece * (8 * arguments.size // len(piece) + 1))[: 8 * arguments.size]
        for name, piece in HOSTILE.items()
    }
    for name, text in texts.items():
        found = [
            nanoseconds(redactor, text[: factor * arguments.size], arguments.repeats)
            for factor in (1, 2, 4, 8)
        ]
        columns = " ".join(f"{value:8.1f}" for value in found)
        print(f"{name:16} {columns}  x{max(found) / min(found):.2f}")


if __name__ == "__main__":
    main()
