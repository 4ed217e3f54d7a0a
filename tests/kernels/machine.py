"""A virtual machine whose root is this machine's, read only."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

__all__ = ["PROGRAM", "lines"]

PROGRAM: Final = "qemu-system-x86_64"


def lines(kernel: bytes, first_files: bytes, seconds: float) -> Iterator[str]:
    """Boot it, and what it writes to its console until it is switched off.

    Args:
        kernel: an image that can be booted.
        first_files: an initramfs.
        seconds: after which it is ended.
    """
    with tempfile.TemporaryDirectory(prefix="llmspell-kernel-") as folder:
        image, archive = Path(folder, "vmlinuz"), Path(folder, "initramfs")
        image.write_bytes(kernel)
        archive.write_bytes(first_files)
        # Emulated: a nested hypervisor isn't everywhere, and the kernel is the same without.
        command = [
            *("timeout", "--signal=KILL", str(seconds), PROGRAM),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"),
            *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"),
            *("-kernel", str(image), "-initrd", str(archive)),
            *("-append", "console=ttyS0 quiet panic=-1"),
            "-virtfs",
            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
        ]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8",
            errors="replace",
        ) as machine:  # fmt: skip
            assert machine.stdout is not None
            try:
                with closing(machine.stdout) as console:
                    for line in console:
                        yield line.rstrip()
            finally:
                machine.terminate()
