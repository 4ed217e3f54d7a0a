"""What a benchmark ran on: every result file carries it, for figures mean nothing without."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmspell import _core

__all__ = ["VARIABLES", "describe_host", "write_result"]

# Read once, when a library is loaded: how many threads it starts, which kernels it uses.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LLMSPELL_SIMD",
)
_VECTOR_FLAGS = (
    *("avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512vl"),
    *("avx512_vnni", "avx512_bf16", "avx512_fp16"),
)
_ROOT = Path(__file__).resolve().parent.parent


def describe_host() -> dict[str, Any]:
    """Machine, software, commit, environment and load, as JSON values.

    ``simd`` is the level that llmspell's kernels run at, which ``LLMSPELL_SIMD`` may have forced.
    """
    return {
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cpus": _usable_cpus(),
        "cpu_features": _vector_extensions(),
        "simd": _core.simd_level(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": _commit(),
        "environment": {name: os.environ.get(name) for name in VARIABLES},
        "load_1min": round(os.getloadavg()[0], 2),
    }


def write_result(result: Mapping[str, Any], out: Path | None) -> None:
    """Write ``result`` to ``out``, with the command that made it; a no-op without ``out``."""
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    print(f"wrote {out}", file=sys.stderr)


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _vector_extensions() -> list[str]:
    """The CPU's vector extensions that index libraries dispatch on (Linux on x86 only)."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return []
    for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            flags = set(line.split())
            return [flag for flag in _VECTOR_FLAGS if flag in flags]
    return []


def _commit() -> str:
    """Short hash of the checked-out commit, with ``-dirty`` where files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"
