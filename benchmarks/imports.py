"""What ``import llmspell`` costs beyond NumPy, in fresh processes: the package, then all names."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.host import describe_host, write_result
from benchmarks.process import keeping_compiled

__all__ = ["add_arguments", "main", "run"]

# NumPy is imported first, so that what follows is llmspell's own. Public names are loaded when
# they are first used; the star loads them all.
_CLOCK = """
import time, numpy
start = time.perf_counter()
import llmspell
package = time.perf_counter()
from llmspell import *
print(package - start, time.perf_counter() - start)
"""
_LOADED = """
import json, sys, numpy
before = set(sys.modules)
from llmspell import *
print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules.keys() - before})))
"""
_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| ( *)(\S+)")


def run(repeats: int = 15) -> dict[str, Any]:
    """Median milliseconds, the packages it loads, and each one's own share.

    The total is timed by the clock; the shares come from ``-X importtime``, which slows
    imports down, so they add up to more than the total.
    """
    host = describe_host()
    _python("-c", _CLOCK)  # fills the file cache and writes compiled modules
    timings = [_python("-c", _CLOCK)[0].split() for _ in range(repeats)]
    alone = [1e3 * float(spent) for spent, _ in timings]
    whole = [1e3 * float(spent) for _, spent in timings]
    packages = json.loads(_python("-c", _LOADED)[0])
    shares: dict[str, list[float]] = defaultdict(list)
    for _ in range(max(3, repeats // 3)):
        for package, spent in _own_times().items():
            shares[package].append(spent)
    by_package = {package: statistics.median(spent) for package, spent in shares.items()}
    return {
        "benchmark": "import",
        "host": host,
        "repeats": repeats,
        "beyond_numpy_ms": {"package": _spread(alone), "all_names": _spread(whole)},
        "third_party_packages": [p for p in packages if _is_third_party(p)],
        "own_ms_by_package": {
            package: round(spent, 2)
            for package, spent in sorted(by_package.items(), key=lambda item: -item[1])[:15]
        },
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    spread = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in spread.items()}


def _is_third_party(package: str) -> bool:
    # Compiled Cython modules register bookkeeping modules of no package; NumPy loads parts of
    # itself when they are used.
    synthetic = package.startswith("_cython") or package == "cython_runtime"
    return not synthetic and package not in {"numpy", *sys.stdlib_module_names}


def _own_times() -> dict[str, float]:
    """Milliseconds that each package's own modules take to import, ours by layer."""
    _, report = _python("-X", "importtime", "-c", "import numpy; from llmspell import *")
    totals: dict[str, float] = defaultdict(float)
    after_numpy = False
    for line in report.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        own, module = int(found[1]), found[4]
        if after_numpy:
            totals[_group(module)] += own / 1e3
        elif module == "numpy":
            after_numpy = True
    return totals


def _group(module: str) -> str:
    """The package of a module; for our own modules the layer."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "llmspell" else parts[0]


def _python(*arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
        env=keeping_compiled(),
    )
    return done.stdout, done.stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks import``."""
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(options.repeats)
    for what, spent in result["beyond_numpy_ms"].items():
        print(
            f"import llmspell, beyond NumPy, {what}: {spent['median']:.1f} ms"
            f" (median of {result['repeats']}, {spent['min']:.1f} to {spent['max']:.1f})"
        )
    print(f"third-party packages loaded: {', '.join(result['third_party_packages'])}")
    for package, own in result["own_ms_by_package"].items():
        print(f"  {own:7.2f} ms  {package}")
    write_result(result, options.out)
