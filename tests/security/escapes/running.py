"""Runs an attempt plainly, where it has to succeed, and in the sandbox, where it must not."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import pytest

from llmspell.errors import SandboxUnavailable, ToolFailed, ToolLimitExceeded, ToolTimeout
from llmspell.security import ConfinedTool, Sandbox, SecurityRequirements
from tests.security.escapes.attempt import Attempt
from tests.security.escapes.processes import real_pid
from tests.security.escapes.room import MEMORY, Room

ATTEMPTS: Final = Path(__file__).with_name("attempts")
_PLAIN: Final = Path(__file__).with_name("plain_run.py")
_SECONDS: Final = 10.0
SYSTEM: Final = "root:x:0:"

# What the kernel's refusal becomes in Python. Another error would be a mistake of the attempt.
_REFUSALS: Final = {
    *("PermissionError", "OSError", "FileNotFoundError", "BlockingIOError", "MemoryError"),
    *("NotADirectoryError", "ModuleNotFoundError", "gaierror", "ProcessLookupError"),
}


@dataclass(frozen=True)
class Outcome:
    """What a run showed: whether it reached what it was after, and what was told of it."""

    reached: bool
    told: str = ""


@dataclass
class Grounds:
    """Everything that attempts run on."""

    sandbox: Sandbox
    room: Room
    made: set[str] = field(default_factory=set)
    proven: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    _tools: dict[tuple[str, str], ConfinedTool] = field(default_factory=dict)
    _plain: dict[str, Outcome] = field(default_factory=dict)
    _neighbour: ConfinedTool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for tool in (*self._tools.values(), *filter(None, [self._neighbour])):
            tool.close()

    def load(
        self, module: str, functions: Sequence[str], *given: Any, **named: Any
    ) -> ConfinedTool:
        """As the sandbox does; skips where this host lacks what the tool needs."""
        try:
            return self.sandbox.load(module, functions, *given, **named)
        except SandboxUnavailable as error:
            pytest.skip(str(error))

    def plainly(self, attempt: Attempt) -> Outcome:
        """What it does as any program of this user; once for all profiles."""
        if attempt.name not in self._plain:
            self.room.reset()
            self._plain[attempt.name] = self._plain_run(attempt)
        return self._plain[attempt.name]

    def confined(self, attempt: Attempt, profile: str) -> Outcome:
        """What it does in the sandbox; raises where it is ended by what is no refusal."""
        self.room.reset()
        tool = self._tool(attempt.module, profile)
        neighbour, pids = self._neighbours()
        told = self.room.described(pids=[*pids, self.room.victim], is_inside=True)
        told["groups"] = self._groups()
        told["group"] = told["groups"][0] if told["groups"] else "/sys/fs/cgroup"
        before = self.room.marks()
        value: Any = None
        shown = ""
        refused = False
        with self._arranged(attempt):
            try:
                done = tool.call(attempt.function, [told], timeout=attempt.timeout)
                value, shown = done.value, repr(done)
            except ToolFailed as error:
                refused = True
                shown = f"{error!r} {error.trace}"
                self._require_refusal(attempt, error)
        reached = self._is_reached(attempt, value, shown, before, seconds=_SECONDS)
        after, _ = self._neighbours()
        assert after == neighbour, "another tool's worker was ended, or changed"
        assert refused or reached or attempt.proof == "lives", f"it went its way: {shown}"
        return Outcome(reached, shown)

    def _plain_run(self, attempt: Attempt) -> Outcome:
        told = self.room.described(pids=[self.room.victim], is_inside=False)
        told["groups"] = self._groups()
        told["group"] = told["groups"][0] if told["groups"] else "/sys/fs/cgroup"
        before = self.room.marks()
        answers, theirs = os.pipe()
        names = [attempt.module, attempt.function]
        with subprocess.Popen(
            [sys.executable, "-I", "-B", _PLAIN, ATTEMPTS, *names, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs, self.room.inherited],
        ) as plain:
            os.close(theirs)
            assert plain.stdin is not None
            with self._arranged(attempt), open(answers) as file:
                plain.stdin.write(json.dumps(told).encode() + b"\n")
                plain.stdin.flush()
                answer = json.loads(file.readline())
            if attempt.proof == "lives":
                self._await_somebody()
            told_of_it = str(answer.get("error", answer.get("value")))
            reached = self._is_reached(attempt, answer.get("value"), told_of_it, before, seconds=0)
        return Outcome(reached, told_of_it)

    def _is_reached(
        self, attempt: Attempt, value: Any, shown: str, before: dict[str, Any], *, seconds: float
    ) -> bool:
        marks = self.room.marks()
        changed = marks != before
        if attempt.proof == "lives":
            return self.room.is_somebody_there(seconds)
        if attempt.proof == "changed":
            return changed
        found = self.room.mark in shown or SYSTEM in shown
        # Whatever an attempt is after: in the sandbox it may not have done the others either.
        if seconds and (changed or (found and attempt.proof != "secret")):
            return True
        return found if attempt.proof == "secret" else value == "done"

    def _require_refusal(self, attempt: Attempt, error: ToolFailed) -> None:
        if isinstance(error, ToolTimeout):
            assert attempt.may_wait, f"{attempt.name} was ended, and not refused: {error}"
        elif isinstance(error, ToolLimitExceeded):
            assert attempt.may_take or attempt.may_wait, f"{attempt.name} took too much: {error}"
        elif not error.error:
            assert attempt.may_die, f"{attempt.name} died, and wasn't refused: {error}"
        else:
            assert error.error in _REFUSALS, f"{attempt.name} is amiss: {error} {error.trace}"

    def _arranged(self, attempt: Attempt) -> Any:
        return self.room.swapping() if attempt.swaps else contextlib.nullcontext()

    def _await_somebody(self) -> None:
        deadline = time.monotonic() + _SECONDS
        while not self.room.is_somebody_there() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _groups(self) -> list[str]:
        host = self.sandbox.host
        return [place.path for place in (host.pids_group, host.memory_group) if place is not None]

    def _tool(self, module: str, profile: str) -> ConfinedTool:
        from tests.security.escapes.table import ATTEMPTS_OF

        key = (module, profile)
        if key not in self._tools:
            self._tools[key] = self.load(
                module,
                sorted({one.function for one in ATTEMPTS_OF[module]}),
                self.requirements(module, profile),
                path=[ATTEMPTS],
                ready=1,
            )
        return self._tools[key]

    def requirements(self, module: str, profile: str) -> SecurityRequirements:
        room = self.room
        if profile == "safe":
            made = SecurityRequirements.safe()
        elif profile in ("restricted", "processes"):
            made = SecurityRequirements.restricted()
        else:
            made = SecurityRequirements.privileged()
        if profile == "everything":
            made = made.with_file_access("/")
        elif profile != "safe":
            made = made.with_file_access(room.writable).with_read_only(room.readable)
        if profile == "hosts":
            made = made.with_network_access("api.example.com")
        if profile in ("privileged", "hosts"):
            made = made.with_file_access(room.memory)
            for place in ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/dev/null"):
                if os.path.exists(place):
                    made = made.with_read_only(place)
            for program in (room.setuid, room.library, room.old_program):
                made = made.with_read_only(program)
        if profile not in ("safe", "restricted"):
            made = made.with_processes(6)
        seconds = 5.0 if profile == "safe" else 20.0
        made = made.with_timeout(60.0 if module == "lasting" else seconds)
        memory = min(MEMORY, made.memory_bytes)
        return made.with_memory_limit(memory).with_cpu_limit(250 if module == "lasting" else 4_000)

    def _neighbours(self) -> tuple[tuple[Any, ...], list[int]]:
        """A worker of another tool, as it is; and the process ids by which it can be named."""
        if self._neighbour is None:
            self._neighbour = self.sandbox.load(
                "neighbour",
                ["who"],
                SecurityRequirements.safe(),
                source="import os\ndef who():\n    return [os.getpid(), os.getppid()]\n",
                keep_workers=True,
                ready=1,
            )
        seen = self._neighbour.call("who", tenant="next door").value
        real = real_pid(seen[0])
        with open(f"/proc/{real}/limits") as file:
            limits = file.read()
        # Outside of a namespace of processes the first is nobody that may be ended.
        first = [1] if real != seen[0] else []
        state = (*seen, real, limits, os.getpriority(os.PRIO_PROCESS, real))
        return state, [*seen, *first]
