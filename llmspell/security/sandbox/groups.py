"""Control groups that hold a worker's memory and the number of its processes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from llmspell.security.host import ControlGroup, HostSupport

__all__ = ["GroupPool", "WorkerGroup", "remove_forgotten"]

_log: Final = logging.getLogger(__name__)

_SECONDS: Final = 10.0
_MOMENT: Final = 0.2
_LEFT_BEHIND: Final = 2 << 20
_NAME: Final = re.compile(r"llmspell-(?:trial-)?(\d+)-[0-9a-f]+")
# Threads of a tool that may not fork; where it may, they count as processes.
THREADS: Final = 64


class WorkerGroup:
    """One group, in one directory or in one for each controller. For one thread at a time."""

    def __init__(self, memory: ControlGroup | None, pids: ControlGroup | None) -> None:
        name = f"llmspell-{os.getpid()}-{secrets.token_hex(6)}"
        self._memory = memory
        places = dict.fromkeys(place for place in (memory, pids) if place is not None)
        self._paths = {place: os.path.join(place.path, name) for place in places}
        self._pids = pids
        made: list[str] = []
        try:
            for path in self._paths.values():
                os.mkdir(path)
                made.append(path)
        except OSError:
            for path in made:
                os.rmdir(path)
            raise

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Hold what enters it from now on."""
        if self._memory is not None:
            path = self._paths[self._memory]
            if self._memory.version == 1:
                _write(path, "memory.limit_in_bytes", memory_bytes)
                _try_write(path, "memory.memsw.limit_in_bytes", memory_bytes)
                _try_write(path, "memory.swappiness", 0)
            else:
                _write(path, "memory.max", memory_bytes)
                _try_write(path, "memory.swap.max", 0)
                _try_write(path, "memory.oom.group", 1)
        self.admit(processes + 1 if processes else THREADS)

    def admit(self, processes: int) -> None:
        """Let no more than so many be made; those that are there stay."""
        if self._pids is not None:
            _write(self._paths[self._pids], "pids.max", processes)

    def cpu_seconds(self) -> float:
        """Processor time of all that was in it since it was made.

        With version 1, of what is in it now and of the children that that has waited for.
        """
        for place, path in self._paths.items():
            if place.version == 2:
                with contextlib.suppress(OSError):
                    return int(_read(path, "cpu.stat").split()[1]) / 1e6
        with contextlib.suppress(OSError):
            return sum(map(_cpu_seconds_of, self.members()))
        return 0.0

    def entrances(self) -> list[int]:
        """Descriptors: a process that writes "0" to each is in it."""
        found: list[int] = []
        try:
            for path in self._paths.values():
                found.append(os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for descriptor in found:
                os.close(descriptor)
            raise
        return found

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process for its memory.

        Raises:
            OSError, ValueError: it can't be read.
        """
        if self._memory is None:
            return False
        name = "memory.oom_control" if self._memory.version == 1 else "memory.events"
        for line in _read(self._paths[self._memory], name).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill" and int(value) > 0:
                return True
        return False

    def end_all(self) -> None:
        """Kill whatever is in it, and wait until nothing is.

        Raises:
            OSError: what is in it can't be read, for lack of descriptors.
        """
        deadline = time.monotonic() + _SECONDS
        if self._pids is not None:
            _try_write(self._paths[self._pids], "pids.max", 0)  # none comes after it was looked at
        while (members := self.members()) and time.monotonic() < deadline:
            if not self._is_killed_at_once():
                for member in members:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(member, signal.SIGKILL)
            time.sleep(0.0005)

    def _is_killed_at_once(self) -> bool:
        # By the kernel, which misses none that is being made and no process id that is new by now:
        # of version 2, from Linux 5.14 on.
        return all(
            place.version == 2 and _try_write(path, "cgroup.kill", 1)
            for place, path in self._paths.items()
        )

    def remove(self) -> None:
        """Take it away, with what is in it."""
        deadline = time.monotonic() + _SECONDS
        for path in self._paths.values():
            while True:
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    with contextlib.suppress(OSError):  # no descriptors: perhaps in a moment
                        self.end_all()
                    time.sleep(0.001)
                else:
                    break

    def holds_memory(self) -> bool:
        """Whether much is charged to it, as files in memory are after who wrote them has ended."""
        if self._memory is None:
            return False
        name = "memory.usage_in_bytes" if self._memory.version == 1 else "memory.current"
        return int(_read(self._paths[self._memory], name)) > _LEFT_BEHIND

    def is_empty(self) -> bool:
        """Whether nothing is in it, nor counted that has ended; raises OSError as `members`."""
        if self._pids is not None:
            return int(_read(self._paths[self._pids], "pids.current")) == 0
        return not self.members()

    def members(self) -> list[int]:
        """Process ids of what is in it.

        Raises:
            OSError: they can't be read, for lack of descriptors.
        """
        found: set[int] = set()
        for path in self._paths.values():
            try:
                found.update(map(int, _read(path, "cgroup.procs").split()))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # it is gone: nothing is in it
                    raise
        # With version 2, 0 is one that can't be seen from here; killing that would be suicide.
        return sorted(found - {0})


class GroupPool:
    """Groups for workers with the same limits, used again when they are empty. Thread-safe.

    Args:
        host: where groups can be made.
        memory_bytes: of a group.
        processes: besides the first one; 0 where what enters it can't fork.
    """

    def __init__(self, host: HostSupport, memory_bytes: int, processes: int) -> None:
        self.processes = processes
        self.may_fork = processes > 0
        self._places = _places(host)
        self._limits = (memory_bytes, processes)
        self._free: deque[WorkerGroup] = deque()
        self._is_closed = False

    def take(self) -> tuple[WorkerGroup, list[int]] | None:
        """An empty group with its limits, and its entrances; None where there is no place for one.

        The entrances are the caller's to close.
        """
        if self._places == (None, None):
            return None
        while True:
            try:
                group = self._free.popleft()
            except IndexError:
                break
            try:
                return group, group.entrances()
            except FileNotFoundError:  # somebody cleaned up
                group.remove()
            except OSError:
                self._put_back(group)
                raise
        group = WorkerGroup(*self._places)
        try:
            group.limit(*self._limits)
            return group, group.entrances()
        except OSError:
            group.remove()
            raise

    def give_back(self, group: WorkerGroup) -> None:
        """Take a group back whose first process has ended; what that left behind is killed."""
        if self._is_as_new(group):
            self._put_back(group)
        else:
            group.remove()

    def _put_back(self, group: WorkerGroup) -> None:
        self._free.append(group)
        if self._is_closed:  # perhaps since a moment ago
            self.close()

    def _is_as_new(self, group: WorkerGroup) -> bool:
        try:
            if self.may_fork:
                group.end_all()
            # What the kernel counts of memory that ran out is not set back.
            if group.ran_out_of_memory() or not _comes_to_hold(group.is_empty):
                return False
            if self.may_fork:
                group.limit(*self._limits)
            return not group.holds_memory()
        except (OSError, ValueError):  # it can't be told
            return False

    def close(self) -> None:
        """Take all groups away; those that are in use when they are given back."""
        self._is_closed = True
        with contextlib.suppress(IndexError):
            while True:
                group = self._free.popleft()
                try:
                    group.remove()
                except OSError as error:
                    _log.warning("a worker's group stays behind: %s", error)


def remove_forgotten(host: HostSupport) -> None:
    """Take away the groups of owners that have died, as far as they are empty."""
    for place in dict.fromkeys((host.memory_group, host.pids_group)):
        if place is None:
            continue
        with contextlib.suppress(OSError), os.scandir(place.path) as entries:
            for entry in entries:
                found = _NAME.fullmatch(entry.name)
                if found is not None and not os.path.exists(f"/proc/{found[1]}"):
                    with contextlib.suppress(OSError):
                        os.rmdir(entry.path)


def _places(host: HostSupport) -> tuple[ControlGroup | None, ControlGroup | None]:
    """Where groups for memory and for the number of processes are made.

    With version 2 a process is in one group alone: entering the second it would leave the first and
    its limit. So both are made in the upper place: whatever controller is handed down below it, it
    hands down too.
    """
    memory, pids = host.memory_group, host.pids_group
    if memory is not None and pids is not None and memory.version == pids.version == 2:
        memory = pids = min(memory, pids, key=lambda place: len(place.path))
    return memory, pids


def _comes_to_hold(what: Callable[[], bool]) -> bool:
    """Whether it holds soon: who has ended is counted until its parent has let go of it."""
    end = time.monotonic() + _MOMENT
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def _cpu_seconds_of(process: int) -> float:
    with contextlib.suppress(OSError):
        words = _read(f"/proc/{process}", "stat").rpartition(")")[2].split()
        return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _write(directory: str, name: str, value: int) -> None:
    descriptor = os.open(os.path.join(directory, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def _try_write(directory: str, name: str, value: int) -> bool:
    with contextlib.suppress(OSError):
        _write(directory, name, value)
        return True
    return False


def _read(directory: str, name: str) -> str:
    with open(os.path.join(directory, name), encoding="ascii") as file:
        return file.read()
