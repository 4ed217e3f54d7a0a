"""A corpus of gigabytes: memory while it is ingested, and an ingest that is killed half-way."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.bulk_corpus import write_corpus
from benchmarks.host import describe_host, write_result
from benchmarks.process import say
from benchmarks.versions import versions_of
from llmspell.rag.memory import MAX_MEMORY

__all__ = ["add_arguments", "main", "run"]

#: Rows of the table: how memory goes while the corpus goes through.
_PLACES: Final = 10
_PACKAGES: Final = ("tokenizers", "semantic-text-splitter", "backports.zstd", "onnxruntime")
_PEAKS: Final = ("anonymous_bytes", "file_bytes", "index_bytes", "held_bytes")


def run(
    gigabytes: float = 5.0,
    *,
    embedder: str = "bytes",
    max_bytes: int = MAX_MEMORY,
    compare: bool = True,
    scratch: Path | None = None,
    sample_seconds: float = 1.0,
) -> dict[str, Any]:
    """Ingest a corpus in a process that is killed half-way, and again in another one.

    Args:
        gigabytes: of text, in files.
        embedder: "bytes" or "local"; see :func:`benchmarks.bulk_worker.pipeline`.
        max_bytes: of the memory guard.
        compare: ingest all of it without a kill besides, and compare what both hold.
        scratch: folder for corpus and databases, twice the corpus's size; where it has a
            ``corpus`` that is taken as it is.
        sample_seconds: between two looks at the memory.
    """
    host = describe_host()
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        corpus = (scratch or Path(made)) / "corpus"
        if not corpus.exists():
            say(f"writing {gigabytes} GB into {corpus}")
            write_corpus(corpus, round(gigabytes * 1e9))
        sizes = [file.stat().st_size for file in corpus.rglob("*.txt")]
        job: dict[str, Any] = {
            "corpus": str(corpus),
            "embedder": embedder,
            "max_bytes": max_bytes,
            "sample_seconds": sample_seconds,
            "digest": compare,
        }
        cut = {**job, "data": f"{made}/killed"}
        say(f"ingesting {sum(sizes):,} bytes in {len(sizes):,} files")
        killed = _until_killed({**cut, "kill_at": len(sizes) // 2})
        resumed = _to_the_end(cut)
        whole = _to_the_end({**job, "data": f"{made}/whole"}) if compare else None
        stored = sum(file.stat().st_size for file in Path(cut["data"]).rglob("*"))
    return {
        "benchmark": "bulk",
        "host": host,
        "versions": versions_of(_PACKAGES),
        "settings": {"gigabytes": gigabytes, "embedder": embedder, "max_bytes": max_bytes},
        "source_bytes": sum(sizes),
        "files": len(sizes),
        "killed": killed,
        "resumed": resumed,
        "whole": whole,
        "is_same": whole and whole["content"] == resumed["content"],
        "stored_bytes": stored,
    }


def _until_killed(job: dict[str, Any]) -> dict[str, Any]:
    """Start, and send SIGKILL when so many files are done."""
    started = time.perf_counter()
    with _worker(job) as process:
        samples = []
        for told in _lines(process):
            if "reached" in told:
                process.kill()
                break
            samples.append(told)
        else:
            raise SystemExit(f"the ingest ended before it was killed: exit {process.wait()}")
    return {
        "files": told["reached"],
        "chunks": told["chunks"],
        "seconds": round(time.perf_counter() - started, 1),
        **_memory(samples),
    }


def _to_the_end(job: dict[str, Any]) -> dict[str, Any]:
    """Start, and wait for the report."""
    with _worker(job) as process:
        *samples, report = _lines(process)
    if process.returncode or "added" not in report:
        raise SystemExit(f"the ingest failed: exit {process.returncode}")
    return {**report, **_memory(samples)}


def _worker(job: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bulk_worker", json.dumps({"kill_at": None, **job})],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )


def _lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def _memory(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """The peak of each figure, and the samples that stand nearest to ten even places."""
    if not samples:
        return {"samples": [], "peaks": {}}
    last = samples[-1]["documents"]
    wanted = [last * place / _PLACES for place in range(1, _PLACES + 1)]
    near: list[dict[str, Any]] = []
    for at in wanted:
        one = min(samples, key=lambda sample: abs(sample["documents"] - at))
        if one not in near:
            near.append(one)
    peaks = {name: max((one[name] or 0) for one in samples) for name in _PEAKS}
    return {"samples": near, "peaks": peaks}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks bulk``."""
    parser.add_argument("--gigabytes", type=float, default=5.0, help="size of the corpus")
    parser.add_argument("--embedder", choices=("bytes", "local"), default="bytes")
    parser.add_argument("--max-bytes", type=int, default=MAX_MEMORY, help="of the memory guard")
    parser.add_argument(
        "--no-compare", action="store_true", help="leave out the run without a kill"
    )
    parser.add_argument("--scratch", type=Path, help="folder with room for twice the corpus")
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(
        options.gigabytes,
        embedder=options.embedder,
        max_bytes=options.max_bytes,
        compare=not options.no_compare,
        scratch=options.scratch,
    )
    killed, resumed = result["killed"], result["resumed"]
    for sample in [*killed["samples"], *resumed["samples"]]:
        print(
            f"{sample['seconds']:>8.0f} s {sample['documents']:>9,} files"
            f" {sample['chunks']:>10,} chunks; MB:"
            f" {(sample['anonymous_bytes'] or 0) / 1e6:,.0f} own,"
            f" {sample['index_bytes'] / 1e6:,.0f} its index,"
            f" {sample['held_bytes'] / 1e6:,.1f} held"
        )
    print(f"killed after {killed['files']:,} files; {resumed['unchanged']:,} found unchanged")
    if result["whole"]:
        print(f"the same as without a kill: {result['is_same']}")
    write_result(result, options.out)
