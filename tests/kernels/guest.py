"""What runs in the machine: it makes control groups as systemd does, runs the tests, and ends it.

Its results are lines of the console that begin with :data:`MARK`.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["MARK", "USERS"]

MARK: Final = "@llmspell "
USERS: Final = {"root": 0, "user": 1000}
_GROUPS: Final = Path("/sys/fs/cgroup")
_POWER_OFF: Final = 0x4321_FEDC
_SYSLOG_CONSOLE_OFF: Final = 6


def main(who: str, tests: list[str]) -> None:
    """Run everything as one of :data:`USERS`, and switch the machine off."""
    libc = ctypes.CDLL(None)
    libc.klogctl(_SYSLOG_CONSOLE_OFF, None, 0)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
        _keep_build()
        os.environ.update(_environment(USERS[who]))
        enter = _delegated(USERS[who])
        _say(kernel=platform.release())
        _say(**json.loads(_run(enter, [sys.executable, "-m", "tests.kernels.host"], False)))
        begun = time.monotonic()
        options = ["-q", "--tb=short", "-rs", "-p", "no:cacheprovider"]
        options += ["-p", "tests.kernels.at_once", *tests]
        shown = _run(enter, [sys.executable, "-m", "pytest", *options], True)
        last = shown.strip().splitlines()[-1] if shown.strip() else ""
        counts = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z]+)", last)}
        _say(counts=counts, seconds=round(time.monotonic() - begun))
    finally:
        os.sync()
        libc.reboot(_POWER_OFF)
        time.sleep(60)


def _keep_build() -> None:
    """Where the package is installed to be edited, don't let it be built anew in here."""
    text = "import sys; [setattr(f, 'rebuild_flag', False) for f in sys.meta_path]\n"
    Path(sysconfig.get_path("purelib"), "zz_keep_build.pth").write_text(text, encoding="ascii")


def _environment(user: int) -> dict[str, str]:
    home = Path("/run/home")
    home.mkdir()
    os.chown(home, user, user)
    Path("/root").chmod(0o755)  # this Python may be there
    if user:
        with open("/etc/passwd", "a", encoding="utf-8") as file:
            file.write(f"tester:x:{user}:{user}::{home}:/bin/sh\n")
    return {
        "HOME": str(home),
        "USER": "tester" if user else "root",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
    }


def _delegated(user: int) -> Callable[[], None]:
    """As a service with `Delegate=yes` and `DelegateSubgroup=main`; returns what enters it."""
    subprocess.run(["mount", "-t", "cgroup2", "-o", "nsdelegate", "cgroup2", _GROUPS], check=True)
    service = _GROUPS / "system.slice" / "tests.service"
    main = service / "main"
    main.mkdir(parents=True)
    for group in (_GROUPS, service.parent, service):
        (group / "cgroup.subtree_control").write_text("+memory +pids", encoding="ascii")
    for group in (service, main):
        os.chown(group, user, user)
        for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
            os.chown(group / name, user, user)

    def enter() -> None:
        (main / "cgroup.procs").write_text("0", encoding="ascii")
        if user:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)

    return enter


def _run(enter: Callable[[], None], command: list[str], is_shown: bool) -> str:
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if is_shown else None,
        encoding="utf-8",
        errors="replace",
        preexec_fn=enter,
    ) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            if is_shown:
                print(line, end="", flush=True)
            shown.append(line)
    return "".join(shown)


def _say(**what: Any) -> None:
    print(MARK + json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
