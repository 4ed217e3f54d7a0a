"""The process of a peer, as the program that compares peers sees it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from benchmarks.peers.base import PeerSpec

__all__ = ["PeerError", "PeerProcess", "keeping_compiled", "say"]


def keeping_compiled() -> dict[str, str]:
    """The environment of a process whose imports are timed: it keeps what it has compiled.

    Of a shell that says otherwise, packages that were compiled when they were installed would be
    compared with a checkout that is compiled each time.
    """
    return {name: it for name, it in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class PeerError(RuntimeError):
    """The process of a peer ended, or answered nothing."""


@dataclass
class PeerProcess:
    """A running worker, and what it has answered so far; ``error`` is its last words."""

    spec: PeerSpec
    process: subprocess.Popen[str]
    messages: Path
    built: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def start(
        cls,
        spec: PeerSpec,
        job: Mapping[str, Any],
        scratch: Path,
        worker: str = "worker",
        before: Sequence[str] = (),
    ) -> Self:
        """Start ``benchmarks.{worker}``; its files and what it prints go to a folder of its own.

        Args:
            spec: the peer.
            job: JSON values; ``setup`` in it gets the folder's name as ``scratch``.
            scratch: where to make the folder.
            worker: name of the module.
            before: a command that starts the rest of its line in its own place, as ``strace -D``.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{spec.name}-{spec.variant}-", dir=scratch))
        setup = {**job["setup"], "scratch": str(folder)}
        request = json.dumps({**job, "setup": setup, "name": spec.name, "variant": spec.variant})
        messages = folder / "messages.txt"
        with messages.open("w") as sink:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", f"benchmarks.{worker}", request],
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

    def attempt(self, **request: object) -> dict[str, Any] | None:
        """As :meth:`ask`, but a failure is said, kept as its error, and answered with None."""
        if self.error is not None:
            return None
        try:
            return self.ask(**request)
        except PeerError as failure:
            self.error = str(failure)
            say(f"{self.spec} failed: {failure}")
            return None

    def stop(self) -> None:
        """Kill it: nothing of it is needed, and some libraries hang when they are torn down."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)
