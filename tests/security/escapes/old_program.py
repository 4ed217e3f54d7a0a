"""A program of 32 bits, whose calls have other numbers: it tells the file that it is given."""

from __future__ import annotations

import os
import struct
from pathlib import Path

__all__ = ["old_program"]

# Both open argv[1], read 256 bytes to the stack, write these to 1 and exit.
_ARM = struct.pack(
    "<16I",
    *(0xE59D0008, 0xE3A01000, 0xE3A07005, 0xEF000000),  # ldr r0, [sp, #8]; r1 = 0; r7 = 5; svc
    *(0xE24DDC01, 0xE1A0100D, 0xE3A02C01, 0xE3A07003),  # sp -= 256; r1 = sp; r2 = 256; r7 = 3
    *(0xEF000000, 0xE1A02000, 0xE3A00001, 0xE3A07004),  # svc; r2 = r0; r0 = 1; r7 = 4
    *(0xEF000000, 0xE3A00000, 0xE3A07001, 0xEF000000),  # svc; r0 = 0; r7 = 1; svc
)
_I386 = bytes.fromhex(
    "8b5c2408 31c9 b805000000 cd80"  # mov ebx, [esp + 8]; ecx = 0; eax = 5; int 0x80
    "89c3 81ec00010000 89e1 ba00010000 b803000000 cd80"  # ebx = eax; esp -= 256; ecx = esp; ...
    "89c2 bb01000000 b804000000 cd80"
    "31db b801000000 cd80"
)
# By the machine that may run it: its own machine and flags of ELF.
_OF: dict[str, tuple[int, int, bytes]] = {
    "aarch64": (40, 0x0500_0000, _ARM),
    "x86_64": (3, 0, _I386),
}
_BASE, _HEADERS = 0x0001_0000, 52 + 32


def old_program(base: Path) -> Path:
    """Where it was made; it is empty where there is none for this machine."""
    made = base / "old-program"
    machine, flags, code = _OF.get(os.uname().machine, (0, 0, b""))
    size = _HEADERS + len(code)
    identity = b"\x7fELF\1\1\1".ljust(16, b"\0")
    entry = _BASE + _HEADERS
    header = struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, flags, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, _BASE, _BASE, size, size, 5, 0x1000)
    made.write_bytes(identity + header + segment + code if code else b"")
    made.chmod(0o755)
    return made
