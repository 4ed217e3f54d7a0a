"""Processes as the kernel tells of them, by their ids outside."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any


def real_pid(pid: int) -> int:
    """Of a descendant of this process, which knows itself as ``pid`` in its own namespace."""
    waiting = [os.getpid()]
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{one}/status").read_text()
            names = status.partition("NSpid:")[2].split("\n", 1)[0].split()
            if one != os.getpid() and names[-1] == str(pid):
                return one
            for task in os.listdir(f"/proc/{one}/task"):
                waiting += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
    raise AssertionError(f"there is no process {pid}")


def process_state(pid: int) -> dict[str, Any] | None:
    """What others may have done to a process; None where it has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        if status["State"][0] in "ZX":
            return None
        with open(f"/proc/{pid}/limits") as file:
            limits = file.read()
        with open(f"/proc/{pid}/oom_score_adj") as file:
            score = file.read()
        return {
            "is_stopped": status["State"][0] in "Tt",
            "tracer": status["TracerPid"],
            "affinity": status["Cpus_allowed"],
            "nice": os.getpriority(os.PRIO_PROCESS, pid),
            "policy": os.sched_getscheduler(pid),
            "limits": limits,
            "score": score,
        }
    except (FileNotFoundError, ProcessLookupError):
        return None
