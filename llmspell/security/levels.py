"""How much a tool may ask for: three levels, in order."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = ["CEILINGS", "Ceiling", "SecurityLevel"]

MIB: Final = 1 << 20


class SecurityLevel(enum.Enum):
    """What a tool may be given at most; ``SAFE < RESTRICTED < PRIVILEGED``.

    - ``SAFE``: no files, no network, no environment, no processes, 50 MiB.
    - ``RESTRICTED``: the paths, hosts and variables that it lists, and 100 MiB.
    - ``PRIVILEGED``: also every file, every public host, and 500 MiB.

    A level compares with levels alone, and is stored as its value.
    """

    SAFE = "safe"
    RESTRICTED = "restricted"
    PRIVILEGED = "privileged"

    def __init__(self, value: str) -> None:
        self._rank = len(type(self).__members__)

    def __lt__(self, other: object) -> bool:
        return self._rank < other._rank if isinstance(other, SecurityLevel) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._rank <= other._rank if isinstance(other, SecurityLevel) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._rank > other._rank if isinstance(other, SecurityLevel) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._rank >= other._rank if isinstance(other, SecurityLevel) else NotImplemented


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """The most that a level allows, and what a tool has there that asks for nothing.

    Args:
        lists: whether paths, hosts and variables may be listed at all.
        everything: whether the path ``"/"``, the kernel's own files and the host ``"*"`` may be.
        memory_bytes: the most, which is also the default.
        processes: the most besides the tool's own; the default is none.
        cpu_ms: the default.
        timeout_seconds: the default.
    """

    lists: bool
    everything: bool
    memory_bytes: int
    processes: int
    cpu_ms: int
    timeout_seconds: float


#: Memory is the production guide's, and so are the 5 s of CPU of a restricted tool. Waiting is for
#: the network, so a tool that has none waits no longer than it may compute and a little more.
CEILINGS: Final = {
    SecurityLevel.SAFE: Ceiling(
        lists=False,
        everything=False,
        memory_bytes=50 * MIB,
        processes=0,
        cpu_ms=1_000,
        timeout_seconds=5.0,
    ),
    SecurityLevel.RESTRICTED: Ceiling(
        lists=True,
        everything=False,
        memory_bytes=100 * MIB,
        processes=16,
        cpu_ms=5_000,
        timeout_seconds=30.0,
    ),
    SecurityLevel.PRIVILEGED: Ceiling(
        lists=True,
        everything=True,
        memory_bytes=500 * MIB,
        processes=256,
        cpu_ms=30_000,
        timeout_seconds=120.0,
    ),
}
