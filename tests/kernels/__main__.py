"""`python -m tests.kernels [KERNEL ...]`: the sandbox on other kernels, and a table of what held.

For Debian or a derivative of it, as root: needs apt, dpkg-deb and qemu-system-x86. Kernels are kept
in build/kernels.

`--arch arm64` runs kernels of 64-bit ARM on a root that it makes: needs qemu-system-arm,
g++-aarch64-linux-gnu, cmake, cython and pybind11.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from tests.kernels.debian import RELEASES, fetched
from tests.kernels.guest import MARK, USERS
from tests.kernels.initramfs import initramfs
from tests.kernels.machine import MACHINES
from tests.kernels.root import made

HERE: Final = Path(__file__).resolve().parents[2]
TESTS: Final = ("tests/security/sandbox", "tests/security/host", "tests/security/escapes")
KERNEL: Final = re.compile(r"boot/vmlinuz-.*")
_FOLDERS: Final = r"(fs|lib|net/9p|drivers/virtio)/.*\.ko(\.xz)?"
WANTED: Final = re.compile(rf"{KERNEL.pattern}|(usr/)?lib/modules/[^/]*/kernel/{_FOLDERS}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels", description=__doc__)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=", ".join(RELEASES))
    parser.add_argument("--arch", choices=MACHINES, default="amd64", help="of the machine")
    parser.add_argument("--as", dest="users", choices=(*USERS, "both"), default="both")
    parser.add_argument("--tests", type=shlex.split, default=TESTS, help="arguments of pytest")
    parser.add_argument("--seconds", type=float, default=5400, help="of one run")
    given = parser.parse_args()
    unknown = [name for name in given.kernels if name not in RELEASES]
    if unknown:
        parser.error(f"unknown kernels: {', '.join(unknown)}")
    program = MACHINES[given.arch].program
    if shutil.which(program) is None:
        parser.error(f"no {program}: Debian has qemu-system-x86 and qemu-system-arm")
    users = USERS if given.users == "both" else [given.users]
    results = [run(name, who, given) for name in given.kernels or RELEASES for who in users]
    show(results)
    return int(any(failures(result) != 0 for result in results))


def run(name: str, who: str, given: argparse.Namespace) -> dict[str, Any]:
    """Boot a kernel, and what the guest said."""
    folder = HERE / "build" / "kernels"
    package = fetched(RELEASES[name], given.arch, f"linux-image-{given.arch}", folder)
    files = package.files(WANTED)
    kernel = next(content for path, content in files.items() if KERNEL.fullmatch(path))
    busybox = fetched("bookworm", given.arch, "busybox-static", folder).files(
        re.compile("bin/busybox")
    )
    if given.arch == "amd64":
        root, python = Path("/"), sys.executable
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    else:
        root, python, path = made(HERE, folder / given.arch), "python3", "/usr/sbin:/usr/bin"
    guest = [python, "-m", "tests.kernels.guest", who, *given.tests]
    command = shlex.join(["exec", "env", "-C", str(HERE), f"PATH={path}", *guest])
    result: dict[str, Any] = {"asked": name, "who": who}
    archive = initramfs(busybox["bin/busybox"], files, shlex.quote(command))
    for line in MACHINES[given.arch].lines(kernel, archive, root, given.seconds):
        print(line, flush=True)
        if line.startswith(MARK):
            result |= json.loads(line.removeprefix(MARK))
    return result


def show(results: list[dict[str, Any]]) -> None:
    """The table, and why each level that isn't there isn't."""
    head = ("kernel", "as", "Landlock", "memory and pids", "tools that it confines")
    rows = [(*head, "passed", "failed", "skipped", "seconds")]
    for result in results:
        held = [name for name, told in result.get("told", {"?": ""}).items() if not told]
        counts = result.get("counts", {})
        rows.append(
            (
                result.get("kernel", result["asked"]),
                result["who"],
                str(result.get("landlock_abi", "?")),
                "groups v2" if len(result.get("groups", [])) == 2 else "no groups",
                ", ".join(held) or "none",
                str(counts.get("passed", 0)),
                str(failures(result)),
                str(counts.get("skipped", 0)),
                str(result.get("seconds", "?")),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)))
    for result in results:
        for kind in ("lacks", "told"):
            for name, why in result.get(kind, {}).items():
                if why:
                    print(f"{result['asked']} as {result['who']}, {name}: {why}")


def failures(result: dict[str, Any]) -> int:
    """How many tests failed; 1 where the run came to no end."""
    counts: dict[str, int] = result.get("counts", {})
    if not counts:
        return 1
    return sum(counts.get(name, 0) for name in ("failed", "error", "errors"))


if __name__ == "__main__":
    sys.exit(main())
