"""A virtual machine whose root is a folder of this one, read only."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MACHINES", "Machine"]

_ROOT: Final = "mount_tag=root,security_model=none,readonly=on,multidevs=remap"


@dataclass(frozen=True, slots=True)
class Machine:
    """qemu of an architecture."""

    program: str
    board: str
    processor: str
    console: str

    def lines(self, kernel: bytes, first_files: bytes, root: Path, seconds: float) -> Iterator[str]:
        """Boot it, and what it writes to its console until it is switched off.

        Args:
            kernel: an image that can be booted.
            first_files: an initramfs.
            root: the folder.
            seconds: after which it is ended.
        """
        with tempfile.TemporaryDirectory(prefix="llmspell-kernel-") as folder:
            image, archive = Path(folder, "vmlinuz"), Path(folder, "initramfs")
            image.write_bytes(kernel)
            archive.write_bytes(first_files)
            # Emulated: a nested hypervisor isn't everywhere, and the kernel is the same without.
            command = [
                *("timeout", "--signal=KILL", str(seconds), self.program),
                *("-machine", self.board, "-cpu", self.processor, "-accel", "tcg,thread=multi"),
                *("-smp", "2", "-m", "3072"),
                *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"),
                *("-kernel", str(image), "-initrd", str(archive)),
                *("-append", f"console={self.console} quiet panic=-1"),
                *("-virtfs", f"local,path={root},{_ROOT}"),
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


#: By Debian's names.
MACHINES: Final = {
    "amd64": Machine("qemu-system-x86_64", "pc", "max", "ttyS0"),
    # Signing pointers as processors do takes most of the time when emulated.
    "arm64": Machine("qemu-system-aarch64", "virt", "max,pauth-impdef=on", "ttyAMA0"),
}
