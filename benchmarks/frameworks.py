"""Import, agents, tools, caches and retrieval, beside LangChain, LlamaIndex and Pydantic AI."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.host import describe_host, write_result
from benchmarks.peers.base import PeerSpec
from benchmarks.process import PeerProcess, keeping_compiled, say
from benchmarks.toolkits.base import CASES, IMPORTS, QUIET, TOOLKITS

__all__ = ["add_arguments", "main", "run"]

# What a program does until its first agent has answered: much is imported by then only.
_FIRST: Final = (
    "from benchmarks.toolkits.agents import {name} as framework; "
    "from benchmarks.toolkits.task import ANSWER; "
    "assert framework.first(sys.argv[1]) == ANSWER"
)
_ROOT = Path(__file__).resolve().parent.parent
_PREFIX: Final = "llmspell-frameworks-"
_MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None


def run(
    *,
    toolkits: Sequence[str] = TOOLKITS,
    documents: int = 1_000,
    dim: int = 384,
    rounds: int = 7,
    seconds: float = 0.5,
    most: int = 2_000,
    seed: int = 7,
) -> dict[str, Any]:
    """Do the same with each framework, each in its own process, in turn; JSON values.

    Models answer by a script and embeddings are looked up, so that what is timed is the framework.

    Args:
        toolkits: names of modules of :mod:`benchmarks.toolkits`.
        documents: that are searched.
        dim: of their vectors.
        rounds: in each, every framework does every case; the order rotates.
        seconds: for each case and round, at most.
        most: calls of each case and round.
        seed: of the vectors.
    """
    host = describe_host()
    settings = {"documents": documents, "dim": dim, "rounds": rounds, "seconds": seconds}
    fresh = {
        "import": {name: IMPORTS[name] for name in toolkits},
        "first": {name: _FIRST.format(name=name) for name in toolkits},
    }
    fresh_ms: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in toolkits} for what in fresh
    }
    for what, programs in fresh.items():
        for name in toolkits:  # fills the file cache, and writes compiled modules
            _fresh_ms(programs[name])
        for number in range(rounds):
            for name in _rotated(toolkits, number):
                fresh_ms[what][name].append(_fresh_ms(programs[name]))
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX) as scratch,
        # The others' stores are in memory; here a sync costs ours no more.
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_MEMORY) as memory,
    ):
        in_memory = memory if _MEMORY else None
        setup = {"memory": in_memory, "documents": documents, "dim": dim, "seed": seed}
        peers = {
            name: PeerProcess.start(
                PeerSpec(name, ""), {"setup": setup}, Path(scratch), "frameworks_worker"
            )
            for name in toolkits
        }
        try:
            about = {name: peer.ask(do="about") for name, peer in peers.items()}
            spent: dict[str, dict[str, list[float]]] = {name: {} for name in toolkits}
            for number in range(rounds):
                say(f"frameworks: round {number + 1} of {rounds}")
                for case in CASES:
                    for name in _rotated(toolkits, number):
                        if case in about[name]["cases"]:
                            given = {"case": case, "seconds": seconds, "most": most}
                            found = peers[name].ask(do="measure", **given)
                            spent[name].setdefault(case, []).append(found["us"])
        finally:
            for peer in peers.values():
                peer.stop()
    return {
        "benchmark": "frameworks",
        "host": host,
        "settings": {**settings, "seed": seed},
        "versions": {name: about[name]["versions"] for name in toolkits},
        "import_ms": {name: _spread(values) for name, values in fresh_ms["import"].items()},
        "first_ms": {name: _spread(values) for name, values in fresh_ms["first"].items()},
        "us": {
            name: {case: _spread(values) for case, values in found.items()}
            for name, found in spent.items()
        },
    }


def _fresh_ms(program: str) -> float:
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as scratch:
        code = f"import sys, time; start = time.perf_counter(); {program}; "
        code += "print(1e3 * (time.perf_counter() - start))"
        done = subprocess.run(
            [sys.executable, "-c", code, f"{scratch}/data"],
            capture_output=True,
            text=True,
            check=True,
            cwd=_ROOT,
            env={**keeping_compiled(), **QUIET},
        )
    return float(done.stdout.split()[-1])


def _rotated(names: Sequence[str], number: int) -> list[str]:
    at = number % len(names)
    return [*names[at:], *names[:at]]


def _spread(values: Sequence[float]) -> dict[str, float]:
    spread = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in spread.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks frameworks``."""
    parser.add_argument("--toolkits", default=",".join(TOOLKITS), help="names, by commas")
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each case and round")
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    from benchmarks.tables.frameworks import frameworks_table

    result = run(
        toolkits=options.toolkits.split(","),
        documents=options.documents,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    print("\n".join(frameworks_table(result)))
    write_result(result, options.out)
