"""Run the published pairs of patterns and texts, and print what became of them.

``python -m tests.security.patterns [re]``: with ``re`` also how many of them take the standard
library more than a second each, in a process that is killed then. LLMSPELL_REDOS_LIST names a
checkout of github.com/yetingli/ReDoS-Benchmarks, or is ``download``.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter
from time import perf_counter

from llmspell.errors import PatternLimitExceeded, UnsafePattern
from llmspell.security import LinearPattern
from tests.security.patterns.redos_list import Pair, pairs

SECOND = """
import re, sys, warnings
warnings.simplefilter("ignore")
pattern, text = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\\0\\0", 1)
try:
    pattern = re.compile(pattern)
except re.error:
    sys.exit(3)
print("go", flush=True)
pattern.search(text)
"""


def run(pair: Pair) -> tuple[str, float]:
    """What became of a pair, and the seconds that it took, compiling and searching."""
    began = perf_counter()
    try:
        LinearPattern(pair.pattern).search(pair.text)
        outcome = "searched"
    except UnsafePattern as error:
        outcome = error.construct or "too large"
    except PatternLimitExceeded as error:
        outcome = f"limit: {error.limit}"
    return outcome, perf_counter() - began


def by_standard_library(pair: Pair) -> str:
    """Whether ``re`` searches within a second, in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", SECOND], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin and child.stdout
    with child:
        child.stdin.write(f"{pair.pattern}\0\0{pair.text}".encode("utf-8", "surrogatepass"))
        child.stdin.close()
        if not child.stdout.readline():
            return "no pattern of re"
        try:
            child.wait(1)
        except subprocess.TimeoutExpired:
            child.kill()
            return "over a second"
    return "within a second"


def main(arguments: list[str]) -> None:
    found = pairs()
    outcomes = [run(pair) for pair in found]
    print(f"{len(found)} pairs of {len({pair.pattern for pair in found})} patterns")
    for outcome, count in Counter(outcome for outcome, _ in outcomes).most_common():
        print(f"  {outcome:28} {count:4}")
    print(f"slowest, compiling and searching: {max(took for _, took in outcomes) * 1000:.1f} ms")
    if "re" in arguments:
        warnings.simplefilter("ignore")
        for outcome, count in Counter(map(by_standard_library, found)).most_common():
            print(f"  re: {outcome:24} {count:4}")


if __name__ == "__main__":
    main(sys.argv[1:])
