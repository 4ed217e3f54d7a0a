"""What ``import llmspell`` costs beyond NumPy, in fresh processes."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.host import describe_host, write_result

__all__ = ["add_arguments", "main", "run"]

# NumPy is imported first, so that what follows is llmspell's own.
_CLOCK = """
import time, numpy
wall, cpu = time.perf_counter(), time.process_time()
import llmspell
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
_LOADED = """
import json, sys, numpy
before = set(sys.modules)
import llmspell
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
    wall = sorted(1e3 * float(spent) for spent, _ in timings)
    cpu = [1e3 * float(spent) for _, spent in timings]
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
        "beyond_numpy_ms": {
            "median": round(statistics.median(wall), 2),
            "min": round(wall[0], 2),
            "max": round(wall[-1], 2),
            "cpu_median": round(statistics.median(cpu), 2),
        },
        "third_party_packages": [p for p in packages if _is_third_party(p)],
        "own_ms_by_package": {
            package: round(spent, 2)
            for package, spent in sorted(by_package.items(), key=lambda item: -item[1])[:15]
        },
    }


def _is_third_party(package: str) -> bool:
    # Compiled Cython modules register bookkeeping modules of no package; NumPy loads parts of
    # itself when they are used.
    synthetic = package.startswith("_cython") or package == "cython_runtime"
    return not synthetic and package not in {"numpy", *sys.stdlib_module_names}


def _own_times() -> dict[str, float]:
    """Milliseconds that each package's own modules take to import, ours by layer."""
    _, report = _python("-X", "importtime", "-c", "import numpy; import llmspell")
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
    )
    return done.stdout, done.stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks import``."""
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(options.repeats)
    spent = result["beyond_numpy_ms"]
    print(
        f"import llmspell, beyond NumPy: {spent['median']:.1f} ms"
        f" (median of {result['repeats']}, {spent['min']:.1f} to {spent['max']:.1f};"
        f" CPU {spent['cpu_median']:.1f} ms)"
    )
    print(f"third-party packages loaded: {', '.join(result['third_party_packages'])}")
    for package, own in result["own_ms_by_package"].items():
        print(f"  {own:7.2f} ms  {package}")
    write_result(result, options.out)
