"""The process of a peer, as the program that compares peers sees it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from benchmarks.peers.base import PeerSpec

__all__ = ["PeerError", "PeerProcess"]


class PeerError(RuntimeError):
    """The process of a peer ended, or answered nothing."""


@dataclass
class PeerProcess:
    """A running :mod:`benchmarks.worker`, and what it has answered so far.

    ``finished_at`` is the setting that its curve ends with, once that is known; ``error`` is
    what it said when it failed.
    """

    spec: PeerSpec
    process: subprocess.Popen[str]
    messages: Path
    built: dict[str, Any] = field(default_factory=dict)
    rounds: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    finished_at: int | None = None
    error: str | None = None

    @classmethod
    def start(cls, spec: PeerSpec, job: Mapping[str, Any], scratch: Path) -> Self:
        """Start the process; what it prints goes to a file in ``scratch``."""
        request = json.dumps({**job, "name": spec.name, "variant": spec.variant})
        messages = scratch / f"{spec.name}-{spec.variant}.txt"
        with messages.open("w") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", request],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                cwd=Path(__file__).resolve().parent.parent,
            )
        return cls(spec, process, messages)

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            PeerError: the process has ended; with its exit status and last words.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            said = self.messages.read_text(encoding="utf-8", errors="replace")
            raise PeerError(f"exit status {code}: {said[-2000:].strip()}")
        return cast(dict[str, Any], json.loads(line))

    def wants(self, ef_search: int) -> bool:
        """Whether its curve has a point at ``ef_search``."""
        if self.error is not None:
            return False
        return self.finished_at is None or ef_search <= self.finished_at

    def stop(self) -> None:
        """Kill it: nothing of it is needed, and some libraries hang when they are torn down."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
