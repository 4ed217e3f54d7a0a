"""How much the open tenants of a database may take together, where nobody says."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from llmspell.errors import ConfigError

__all__ = ["Budget"]

#: Of the descriptors that the process may have; the rest is the application's.
SHARE_OF_DESCRIPTORS: Final = 0.5
#: Of the memory of the machine, or of the container.
SHARE_OF_MEMORY: Final = 0.5
#: Of address space, 128 TiB on x86-64 and arm64, that the maps of rooms may take.
ADDRESS_SPACE: Final = 96 << 40

_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What open rooms may take.

    Args:
        bytes: of memory.
        descriptors: of files.
        rooms: how many may be open for another reason, which is address space.
    """

    bytes: int
    descriptors: int
    rooms: int

    @classmethod
    def of(
        cls, *, max_open_bytes: int | None, max_open_descriptors: int | None, map_size: int
    ) -> Self:
        """The budget that was asked for; None chooses by the machine.

        Raises:
            ConfigError: one is no positive int.
        """
        for name, value in (
            ("max_open_bytes", max_open_bytes),
            ("max_open_descriptors", max_open_descriptors),
        ):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                raise ConfigError(f"{name} must be an int of 1 or more, or None, got {value!r}")
        if max_open_bytes is None:
            max_open_bytes = int(SHARE_OF_MEMORY * memory_limit())
        if max_open_descriptors is None:
            max_open_descriptors = int(SHARE_OF_DESCRIPTORS * descriptor_limit())
        return cls(
            bytes=max_open_bytes,
            descriptors=max_open_descriptors,
            rooms=max(ADDRESS_SPACE // map_size, 1),
        )


def descriptor_limit() -> int:
    """Descriptors that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def memory_limit() -> int:
    """Bytes of memory of the machine, or fewer where a cgroup (version 2) has them."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, _, name = line.split(":", 2)
            if number != "0":
                continue
            group = _CGROUP / name.lstrip("/")
            for path in (group, *group.parents):
                with suppress(OSError, ValueError):  # the root has none; "max" is no number
                    limits.append(int((path / "memory.max").read_text()))
                if path == _CGROUP:
                    break
    return min(limits)
