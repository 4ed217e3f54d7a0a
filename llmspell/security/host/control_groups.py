"""Where this process may make a control group for memory or processes, found by making one."""

from __future__ import annotations

import errno
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ControlGroup", "find_control_group", "places"]

#: For each controller and version: the file of its limit, and what is written there.
_LIMITS: Final = {
    ("memory", 1): ("memory.limit_in_bytes", str(64 << 20)),
    ("memory", 2): ("memory.max", str(64 << 20)),
    ("pids", 1): ("pids.max", "1"),
    ("pids", 2): ("pids.max", "1"),
}

# Told that it was moved, it says the error of a fork; there is none where nothing holds it.
_MEMBER: Final = """
import os, sys
sys.stdin.read(1)
try:
    child = os.fork()
except OSError as error:
    print(error.errno)
else:
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    print(0)
"""
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A directory in which groups can be made.

    Args:
        version: 1 or 2, of the control groups' interface.
        path: of the directory.
    """

    version: int
    path: str


def find_control_group(controller: str) -> tuple[ControlGroup | None, str]:
    """The nearest place where a group of ``controller`` was made, given a limit and a member.

    The group is taken away again. Nothing else is changed: a controller that isn't handed down to
    groups stays so.

    Args:
        controller: "memory" or "pids".

    Returns:
        The place and "", or None and why there is none.
    """
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return None, _reason(error)
    reason = f"no control groups with {controller} are mounted"
    for number, place in enumerate(places(controller, groups, mounts)):
        try:
            why = _try(controller, place)
        except OSError as error:
            why = _reason(error)
        if not why:
            return place, ""
        if number == 0:  # of the group that this process is in; those above are a way out of it
            reason = why
    return None, reason


def places(controller: str, groups: str, mounts: str) -> Iterator[ControlGroup]:
    """The directory of this process's group, then those above it as far as they are mounted.

    Args:
        controller: "memory" or "pids".
        groups: text of ``/proc/self/cgroup``.
        mounts: text of ``/proc/self/mountinfo``.
    """
    own: dict[str, str] = {}
    for line in groups.splitlines():
        _, names, within = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), within)
    version = 1 if controller in own else 2
    path = own.get(controller if version == 1 else "")
    if path is None:
        return
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ", 2)
        of_version = kind == ("cgroup" if version == 1 else "cgroup2")
        if not of_version or (version == 1 and controller not in options.split(",")):
            continue
        root, point = (_unescaped(field) for field in head.split(" ")[3:5])
        mounted = Path(point)
        above = root.rstrip("/")
        if ".." not in path.split("/") and f"{path}/".startswith(f"{above}/"):
            nearest = mounted / path[len(above) :].lstrip("/")
        else:  # a group outside of what is mounted, as a container may see its own
            nearest = mounted
        for directory in (nearest, *nearest.parents):
            yield ControlGroup(version, str(directory))
            if directory == mounted:
                break
        return


def _unescaped(field: str) -> str:
    """A path of mountinfo, in which blanks and backslashes are octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), field)


def _try(controller: str, place: ControlGroup) -> str:
    """Make a group with a limit and a member, and take it away; returns what didn't hold."""
    name, limit = _LIMITS[controller, place.version]
    group = Path(place.path) / f"llmspell-trial-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        group.mkdir()
    except OSError as error:
        return f"{place.path} takes no group: {_code(error)}"
    try:
        if not (group / name).exists():
            return f"{place.path}/cgroup.subtree_control doesn't hand {controller} down"
        (group / name).write_text(limit, encoding="ascii")
        kept = (group / name).read_text(encoding="ascii").strip()
        if kept != limit:
            return f"{name} in {place.path} became {kept}, not {limit}"
        return _try_member(controller, group)
    finally:
        _remove(group)


def _try_member(controller: str, group: Path) -> str:
    command = [sys.executable, "-I", "-S", "-c", _MEMBER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    ) as member:
        try:
            (group / "cgroup.procs").write_text(str(member.pid), encoding="ascii")
            inside = (group / "cgroup.procs").read_text(encoding="ascii").split()
            answer, _ = member.communicate("x", timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return f"a process in a group of {group.parent} didn't answer"
        finally:
            member.kill()
    if str(member.pid) not in inside:
        return f"a process was put into a group of {group.parent} and isn't there"
    if controller == "pids" and answer.strip() != str(errno.EAGAIN):
        return f"a process in a group of {group.parent} could fork beyond its limit"
    return ""


def _remove(group: Path) -> None:
    """Remove a group; its member has ended, and may take a moment to be counted out."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return


def _reason(error: OSError) -> str:
    return f"{error.filename or 'control groups'}: {_code(error)}"


def _code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))
