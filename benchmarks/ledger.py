"""What a charge costs: the ledger beside ``limits`` in memory and plain counters."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.charges import SHARED, Calls, candidates, counted
from benchmarks.host import describe_host, write_result
from benchmarks.process import say
from benchmarks.versions import versions_of

__all__ = ["BINARY", "add_arguments", "main", "run"]

BINARY: Final = Path("build/bench/benchmarks/csrc/bench_ledger")
_ROOT: Final = Path(__file__).resolve().parent.parent


def run(
    *,
    threads: Sequence[int] = (1, 8),
    processes: Sequence[int] = (8,),
    calls: int = 100_000,
    rounds: int = 7,
    binary: Path | None = None,
) -> dict[str, Any]:
    """Charge one tenant again and again; JSON values.

    Figures are ns a call: the wall time from the first call to the last, by the calls of all
    threads or processes together, median over the rounds. The loop around the calls is in them
    and is stated alone. Candidates take turns, round by round. ``limits`` in memory, the twin and
    the counter behind a lock know one process only, and aren't measured between several.

    Args:
        threads: how many of one process charge at once.
        processes: how many charge at once, on one thread each.
        calls: a round, of each thread or process.
        rounds: how often.
        binary: the built ``bench_ledger``, which gives the cost in C++; None leaves that out.

    Raises:
        RuntimeError: the ledger has counted another number than was charged.
    """
    host = describe_host()
    spent: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = multiprocessing.get_context("spawn").Value("q", 0)
        made = {what: make(folder, shared) for what, make in candidates().items()}
        for number in threads:
            say(f"ledger: {number} threads")
            took: dict[str, list[float]] = {what: [] for what in made}
            for _ in range(rounds):
                for what, charge in made.items():
                    took[what].append(_on_threads(charge, calls, number))
            for what, each in took.items():
                spent.setdefault(what, {})[f"threads {number}"] = _median(each)
        for number in processes:
            say(f"ledger: {number} processes")
            for what in SHARED:
                each = _in_processes(what, folder, shared, calls, rounds, number)
                spent[what][f"processes {number}"] = _median(each)
        due = calls * rounds * (sum(threads) + sum(processes))
        if counted(folder) != due:
            raise RuntimeError(f"{due} units were charged, the ledger counts {counted(folder)}")
    native = {}
    if binary is not None:
        for number in threads:
            native[f"threads {number}"] = _native(binary, rounds, calls, number)
    return {
        "benchmark": "ledger",
        "host": host,
        "settings": {
            "calls": calls,
            "rounds": rounds,
            "limits": versions_of(["limits"])["limits"],
        },
        "python_ns": spent,
        "native_ns": native,
    }


def _median(each: Sequence[float]) -> float:
    return round(statistics.median(each), 1)


def _on_threads(charge: Calls, calls: int, number: int) -> float:
    together = threading.Barrier(number)
    spans: list[tuple[int, int]] = []

    def work() -> None:
        together.wait()
        begin = time.perf_counter_ns()
        charge(calls)
        spans.append((begin, time.perf_counter_ns()))

    workers = [threading.Thread(target=work) for _ in range(number)]
    gc.collect()
    gc.disable()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    gc.enable()
    return _ns_a_call(spans, calls)


def _in_processes(
    what: str, folder: Path, shared: Any, calls: int, rounds: int, number: int
) -> list[float]:
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(number), context.SimpleQueue()
    given = (what, folder, shared, calls, rounds, together, answers)
    workers = [context.Process(target=_charge, args=given, daemon=True) for _ in range(number)]
    for worker in workers:
        worker.start()
    spans = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return [_ns_a_call(each, calls) for each in zip(*spans, strict=True)]


def _charge(
    what: str, folder: Path, shared: Any, calls: int, rounds: int, together: Any, answers: Any
) -> None:
    """What each process does; the clock is one for all of them."""
    charge = candidates()[what](folder, shared)
    gc.disable()
    spans = []
    for _ in range(rounds):
        together.wait()
        begin = time.perf_counter_ns()
        charge(calls)
        spans.append((begin, time.perf_counter_ns()))
    answers.put(spans)


def _ns_a_call(spans: Sequence[tuple[int, int]], calls: int) -> float:
    passed = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return passed / calls / len(spans)


def _native(binary: Path, rounds: int, calls: int, threads: int) -> dict[str, float]:
    """What ``bench_ledger`` prints, by the name of the call; it is the least of the rounds."""
    command = [str(binary), str(rounds), str(calls), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (line.rsplit(maxsplit=2) for line in done.stdout.splitlines())
    return {name.strip(): float(ns) for name, ns, _ in lines}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks ledger``."""
    parser.add_argument("--threads", default="1,8", help="one or more, with commas")
    parser.add_argument("--processes", default="8", help="one or more, with commas")
    parser.add_argument("--calls", type=int, default=100_000, help="of each, a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--binary", type=Path, help=f"the built bench_ledger; {BINARY} where it is there"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    binary = options.binary
    if binary is None and (_ROOT / BINARY).exists():
        binary = _ROOT / BINARY
    if binary is None:
        say(f"no {BINARY}: without the cost in C++; benchmarks/README.md says how to build it")
    result = run(
        threads=[int(number) for number in options.threads.split(",")],
        processes=[int(number) for number in options.processes.split(",") if number],
        calls=options.calls,
        rounds=options.rounds,
        binary=binary,
    )
    print("ns a call, wall time by all calls:")
    for what, spent in result["python_ns"].items():
        print(f"  {what:<28} " + ", ".join(f"{how} {ns:.1f}" for how, ns in spent.items()))
    for how, calls in result["native_ns"].items():
        print(f"C++, {how}:")
        for what, ns in calls.items():
            print(f"  {what:<28} {ns:.1f}")
    write_result(result, options.out)
