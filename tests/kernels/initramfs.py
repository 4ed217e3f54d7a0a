"""The first files of a machine: modules of its kernel, and what mounts this machine's root."""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final

__all__ = ["MODULES", "initramfs"]

#: What isn't built into Debian's kernels and is needed to reach the root.
MODULES: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

# The root is this machine's, read only; what is written to it is in memory.
_INIT: Final = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mkdir -p /proc /sys /lower /upper /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in /modules/*; do insmod $module || echo "no $module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /lower
mount -t tmpfs -o mode=755 tmpfs /upper
mkdir -p /upper/changes /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/changes,workdir=/upper/work overlay /root
mount -t devtmpfs devtmpfs /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs -o mode=755 tmpfs /root/run
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
umount /proc /sys
exec switch_root /root /bin/sh -c {command}
"""


def initramfs(busybox: bytes, modules: Mapping[str, bytes], command: str) -> bytes:
    """An archive for the kernel.

    Args:
        busybox: the program, linked statically.
        modules: files of the kernel's package by path; :data:`MODULES` and what they need is taken.
        command: for the shell, quoted, to be run with this machine's root as root.
    """
    files = [("bin", 0o040755, b""), ("bin/busybox", 0o100755, busybox), ("modules", 0o040755, b"")]
    for number, (name, content) in enumerate(_in_order(modules)):
        files.append((f"modules/{number:02}-{name}", 0o100644, content))
    files.append(("init", 0o100755, _INIT.format(command=command).encode()))
    return gzip.compress(_archive(files), 1)


def _in_order(files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Each module behind those that it needs."""
    by_name = {
        PurePath(path).name.split(".")[0].replace("-", "_"): (path, content)
        for path, content in files.items()
    }
    loaded: set[str] = set()

    def with_needed(name: str) -> Iterator[tuple[str, bytes]]:
        if name in loaded or name not in by_name:  # or built in
            return
        loaded.add(name)
        path, content = by_name[name]
        content = lzma.decompress(content) if path.endswith(".xz") else content
        needed = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in needed[1].decode().split(",") if needed else []:
            yield from with_needed(other.replace("-", "_"))
        yield name, content

    for name in MODULES:
        yield from with_needed(name)


def _archive(files: list[tuple[str, int, bytes]]) -> bytes:
    """In the format of cpio that the kernel reads ("newc")."""
    parts = []
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        parts += [head, b"\0" * (-len(head) % 4), content, b"\0" * (-len(content) % 4)]
    return b"".join(parts)
