"""What this host can enforce, found by trying it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llmspell.errors import ConfigError
from llmspell.security.host.control_groups import ControlGroup, find_control_group
from llmspell.security.levels import SecurityLevel
from llmspell.security.requirements import SecurityRequirements

__all__ = ["MEASURES", "HostSupport", "probe"]

_TRIALS: Final = Path(__file__).with_name("trials.py")
_SECONDS: Final = 30.0

#: Fields of :class:`HostSupport` that are tried, in the order in which they are shown.
MEASURES: Final = (
    "no_new_privs",
    "landlock_abi",
    "seccomp",
    "user_namespaces",
    "network_namespaces",
    "memory_group",
    "pids_group",
    "openat2",
    "pidfd",
)
_ALWAYS: Final = ("no_new_privs", "seccomp", "pidfd")

# The interface of Landlock that a level needs, and what for. A safe tool's filter refuses truncate
# by its number; a tool that may write files has it, and only 3 (Linux 6.2) holds it to paths. The
# programs of a privileged tool have signals and sockets, which 6 (Linux 6.12) keeps inside.
_LANDLOCK: Final = {
    SecurityLevel.SAFE: (1, "files"),
    SecurityLevel.RESTRICTED: (3, "files, and truncate() of them"),
    SecurityLevel.PRIVILEGED: (6, "files, and signals and abstract sockets of programs"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSupport:
    """What held when it was tried, by this user in this place; a container may have less.

    Args:
        no_new_privs: a process can give up rights for good.
        landlock_abi: version of Landlock's interface; 0 where a ruleset doesn't hold.
        seccomp: a filter of system calls refuses them.
        user_namespaces: one can be entered without rights, and its root become.
        network_namespaces: an empty one can be entered.
        memory_group: where groups can be made that hold memory; None where nowhere.
        pids_group: where groups can be made that hold the number of processes; None where nowhere.
        openat2: paths are resolved beneath a directory.
        pidfd: a process can be held, ended and awaited by a descriptor.
        reasons: why, for each of these that isn't there: pairs of the field's name and a text.
    """

    no_new_privs: bool = False
    landlock_abi: int = 0
    seccomp: bool = False
    user_namespaces: bool = False
    network_namespaces: bool = False
    memory_group: ControlGroup | None = None
    pids_group: ControlGroup | None = None
    openat2: bool = False
    pidfd: bool = False
    reasons: tuple[tuple[str, str], ...] = ()

    def missing_for(self, needed: SecurityLevel | SecurityRequirements) -> tuple[str, ...]:
        """What this host lacks to run a tool of a level, or one with requirements; empty for none.

        Requirements need what their level does. Processes need control groups that hold them, and
        Landlock's interface 6, which keeps their signals to themselves.
        """
        if isinstance(needed, SecurityRequirements):
            missing = list(self.missing_for(needed.level))
            if needed.processes:
                missing += self._lacking("memory_group", "pids_group")
                if needed.level is not SecurityLevel.PRIVILEGED and 0 < self.landlock_abi < 6:
                    missing.append(
                        f"landlock_abi is {self.landlock_abi}, and 6 is needed for signals of "
                        "processes"
                    )
            return tuple(missing)
        if not isinstance(needed, SecurityLevel):
            raise ConfigError(f"needed must be a SecurityLevel or requirements, got {needed!r}")
        missing = self._lacking(*_ALWAYS)
        least, what = _LANDLOCK[needed]
        if self.landlock_abi == 0:
            missing += self._lacking("landlock_abi")
        elif self.landlock_abi < least:
            missing.append(f"landlock_abi is {self.landlock_abi}, and {least} is needed for {what}")
        if needed is SecurityLevel.PRIVILEGED:
            missing += self._lacking("network_namespaces")
        return tuple(missing)

    def why_not(self, name: str) -> str:
        """Why a field of :data:`MEASURES` isn't there; "" where it is."""
        return "" if getattr(self, name) else dict(self.reasons).get(name, "not tried")

    def _lacking(self, *names: str) -> list[str]:
        return [f"{name}: {self.why_not(name)}" for name in names if not getattr(self, name)]


def probe() -> HostSupport:
    """Try what the kernel enforces, in processes of their own, and say what held.

    Control groups are made and taken away again; nothing else on the host is changed. What can't be
    tried counts as missing. It is tried anew in each call, which starts Python a few times: keep
    what it returns. Safe to call from any thread.
    """
    if sys.platform == "linux":
        return _tried()
    else:
        return _nothing(f"{sys.platform} isn't Linux")


def _tried() -> HostSupport:
    if not sys.executable:
        return _nothing("no Python to start, for sys.executable is empty")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_TRIALS)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        tried: dict[str, dict[str, Any]] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return _nothing(f"the trial failed: {type(error).__name__}: {error}")
    held = {name: answer["value"] for name, answer in tried.items() if "value" in answer}
    reasons = {name: answer["reason"] for name, answer in tried.items() if "reason" in answer}
    for controller in ("memory", "pids"):
        place, reason = find_control_group(controller)
        if place is None:
            reasons[f"{controller}_group"] = reason
        else:
            held[f"{controller}_group"] = place
    return HostSupport(**held, reasons=tuple(sorted(reasons.items())))


def _nothing(reason: str) -> HostSupport:
    return HostSupport(reasons=tuple((name, reason) for name in sorted(MEASURES)))
