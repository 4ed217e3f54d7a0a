"""What a confined call costs: the pool, a kept worker, a fork, and other sandboxes beside them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.host import describe_host, write_result
from benchmarks.process import say
from benchmarks.versions import versions_of
from llmspell.security import ConfinedTool, Sandbox, SecurityRequirements, ToolDefinition

__all__ = ["OURS", "add_arguments", "main", "run"]

# What every candidate runs: a call with a line, whose words it counts; so little work that what is
# measured is the call.
SOURCE: Final = """
import collections

def words(text):
    return dict(collections.Counter(text.split()))
"""
TEXT: Final = "to be or not to be that is the question"
COUNTS: Final = {
    "to": 2,
    "be": 2,
    **dict.fromkeys(["or", "not", "that", "is", "the", "question"], 1),
}

# The same as a program, for what starts one: JSON in, JSON out.
PROGRAM: Final = f"""{SOURCE}
import json, sys
json.dump(words(json.load(sys.stdin)), sys.stdout)
"""

#: Of workers that wait, of one that is kept for the tenant, and of one that is forked for the call.
OURS: Final = ("pool", "pool, idle", "kept", "kept, idle", "forked")
# After so many calls so many seconds, which aren't counted: for the pool to be filled again, or so
# that the machine has gone to sleep, as between calls of a service without load.
_PAUSES: Final = {"pool": (16, 0.25), "pool, idle": (1, 0.02), "kept, idle": (1, 0.02)}
_READY: Final = 32

Call = Callable[[], dict[str, int]]


def run(*, calls: int = 300, rounds: int = 5, registered: int = 1000) -> dict[str, Any]:
    """Count the words of one line by each candidate, which take turns; JSON values.

    Figures are milliseconds from the call to the result, of all rounds together. Pauses between
    calls let the pool be filled again, or the processors sleep, and aren't counted.

    Args:
        calls: of each of ours, a round; others make a tenth of it.
        rounds: how often.
        registered: tools that are defined and registered.

    Raises:
        RuntimeError: a candidate gives other counts.
        SandboxUnavailable: this host can't confine tools.
    """
    host = describe_host()
    taken: dict[str, list[float]] = {}
    with _candidates() as candidates:
        for number in range(rounds):
            say(f"sandbox: round {number + 1} of {rounds}")
            for name, call in candidates.items():
                times = calls if name in OURS else max(1, calls // 10)
                taken.setdefault(name, []).extend(_timed(name, call, times))
    with Sandbox() as sandbox:
        registering = _registered(sandbox, registered)
    return {
        "benchmark": "sandbox",
        "host": host,
        "settings": {
            "calls": calls,
            "rounds": rounds,
            "registered": registered,
            "bubblewrap": _version_of_bubblewrap(),
            **versions_of(["sandlock"]),
        },
        "ms": {name: _spread(spent) for name, spent in taken.items()},
        "registering_ms": _spread(registering),
    }


def _spread(spent: list[float]) -> dict[str, float]:
    return {f"p{at}": round(float(np.percentile(spent, at)), 4) for at in (50, 99)}


def _timed(name: str, call: Call, times: int) -> Iterator[float]:
    together, pause = _PAUSES.get(name, (times, 0.0))
    for number in range(times):
        if number % together == 0:
            time.sleep(pause)
        start = time.perf_counter_ns()
        found = call()
        yield (time.perf_counter_ns() - start) / 1e6
        if found != COUNTS:
            raise RuntimeError(f"{name} gave {found}")


@contextmanager
def _candidates() -> Iterator[dict[str, Call]]:
    """A call of each; those that aren't installed are left out."""
    needs = SecurityRequirements.safe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = folder / "words.py"
        program.write_text(PROGRAM)
        sandbox = stack.enter_context(Sandbox())

        def of(**options: Any) -> Call:
            tool = sandbox.load("words", ["words"], needs, source=SOURCE, **options)
            if not isinstance(tool, ConfinedTool):
                raise TypeError(f"{tool!r} isn't confined")
            return lambda: dict(tool.call("words", [TEXT], tenant="acme").value)

        found = {
            "pool": of(ready=_READY),
            "pool, idle": of(),
            "kept": of(keep_workers=True),
            "kept, idle": of(keep_workers=True),
            "forked": of(ready=0),
            "fresh interpreter, no sandbox": _program([sys.executable, "-I", "-S", str(program)]),
        }
        bubblewrap = shutil.which("bwrap")
        if bubblewrap is not None:
            found["bubblewrap"] = _program([*_wrapped(bubblewrap, folder), str(program)])
        sandlock = _sandlock(program, folder)
        if sandlock is not None:
            found["sandlock"] = sandlock
        yield found


def _program(command: list[str]) -> Call:
    asked = json.dumps(TEXT)

    def call() -> dict[str, int]:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    return call


def _wrapped(bubblewrap: str, folder: Path) -> list[str]:
    command = [bubblewrap, "--unshare-all", "--die-with-parent", "--clearenv", "--proc", "/proc"]
    for place in (*_libraries(), str(folder)):
        command += ["--ro-bind", place, place]
    return [*command, sys.executable, "-I", "-S"]


def _libraries() -> list[str]:
    """What an interpreter reads as it starts."""
    places = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", sysconfig.get_path("stdlib")]
    places += [sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)]
    return [place for place in dict.fromkeys(places) if os.path.exists(place)]


def _sandlock(program: Path, folder: Path) -> Call | None:
    try:
        import sandlock
    except ImportError:
        return None
    given = folder / "text.json"
    given.write_text(json.dumps(TEXT))
    policy = sandlock.Sandbox(fs_readable=[*_libraries(), str(folder)], clean_env=True)
    # It gives a command no input.
    command = ["/bin/sh", "-c", f"exec {sys.executable} -I -S {program} < {given}"]

    def call() -> dict[str, int]:
        return dict(json.loads(policy.run(command).stdout))

    return call


def _version_of_bubblewrap() -> str | None:
    found = shutil.which("bwrap")
    if found is None:
        return None
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def _registered(sandbox: Sandbox, number: int) -> list[float]:
    """Milliseconds to define and register a tool, of each; none of them is started."""
    if sandbox.host.missing_for(SecurityRequirements.safe()):
        return []
    spent = []
    for one in range(number):
        start = time.perf_counter_ns()
        needs = SecurityRequirements.restricted().with_network_access("api.company.com")
        definition = ToolDefinition(
            module=f"words{one}", functions=("words",), requirements=needs, source=SOURCE
        )
        sandbox.register(definition)
        spent.append((time.perf_counter_ns() - start) / 1e6)
    return spent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``python -m benchmarks sandbox``."""
    parser.add_argument("--calls", type=int, default=300, help="of each of ours, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write")


def main(options: argparse.Namespace) -> None:
    """Run with parsed options, print the figures, write the JSON."""
    result = run(calls=options.calls, rounds=options.rounds)
    rows = {**result["ms"], "define and register": result["registering_ms"]}
    for name, spread in rows.items():
        print(f"{name:<30} " + "  ".join(f"{at} {ms:9.3f} ms" for at, ms in spread.items()))
    write_result(result, options.out)
