"""What attempts are after: files, listeners and a process; and whether it was reached."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.security.escapes.listeners import Listeners
from tests.security.escapes.old_program import old_program
from tests.security.escapes.processes import process_state

MEMORY: Final = 64 << 20  # what a tool has here
ENVIRONMENT: Final = "LLMSPELL_ESCAPE_SECRET"

# Has a secret in its environment, its arguments, its memory and a descriptor.
_VICTIM: Final = """
import ctypes, os, signal, sys
word = ctypes.create_string_buffer(sys.argv[1].encode())
held = os.memfd_create("held")
os.write(held, word.value)
print(ctypes.addressof(word), held, flush=True)
while True:
    signal.pause()
"""


class Room:
    """Directories, listeners and a victim. ``reset`` makes all as it was."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.mark = f"mark{secrets.token_hex(8)}"
        self.outside, self.readable, self.writable = (
            base / name for name in ("outside", "readable", "writable")
        )
        self.shm = f"/llmspell-escape-{secrets.token_hex(6)}"
        self.memory = Path("/dev/shm" + self.shm + "-directory")
        self.memory.mkdir()
        for path in (self.readable, self.writable):
            path.mkdir()
        self.listeners = Listeners(base)
        self._victim: subprocess.Popen[str] | None = None
        self._address = self._descriptor = 0
        self._pipe = -1
        self.setuid = _program_of_another_user(base)
        self.library = _library(base)
        self.old_program = old_program(base)
        self.reset()
        # As a program of the owner's would have it: open for all that it starts.
        self.inherited = os.open(self.outside / "inherited", os.O_RDONLY)
        os.set_inheritable(self.inherited, True)

    def described(self, *, pids: list[int], is_inside: bool) -> dict[str, Any]:
        """What an attempt is told."""
        return {
            **{name: str(getattr(self, name)) for name in ("base", "outside", "readable")},
            **{name: str(getattr(self, name)) for name in ("writable", "memory", "shm")},
            **{"mark": self.mark, "setuid": str(self.setuid), "library": str(self.library)},
            "old_program": str(self.old_program),
            "secret": str(self.outside / "secret"),
            "canary": str(self.outside / "canary"),
            "database": str(self.outside / "database"),
            "swapped": str(self.readable / "swapped"),
            "swapped_directory": str(self.readable / "swapped-directory"),
            "pipe": str(self.writable / "pipe"),
            "device": _device(self.base),
            "other_group": 1,
            "bytes": 5 * MEMORY // 2,
            "processes": 24,
            "pids": pids,
            "address": self._address,
            "descriptor": self._descriptor,
            "is_inside": is_inside,
            **self.listeners.described(),
        }

    @property
    def victim(self) -> int:
        """Its process id."""
        assert self._victim is not None
        return self._victim.pid

    def reset(self) -> None:
        """All files as they were, nobody connected, and a victim that lives."""
        if (renamed := self.base / "renamed").exists():
            renamed.rename(self.writable)
        if self._pipe >= 0:
            os.close(self._pipe)
        for place in (self.outside, *self.readable.iterdir(), *self.writable.iterdir()):
            _remove(place)
        for place in (*self.memory.iterdir(), Path("/dev/shm" + self.shm), Path("/tmp" + self.shm)):
            _remove(place)
        self._fill()
        os.mkfifo(self.writable / "pipe")
        self._pipe = os.open(self.writable / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.listeners.drain()
        self._start_victim()

    def marks(self) -> dict[str, Any]:
        """All that an attempt could have changed."""
        places = [self.outside, *sorted(self.outside.rglob("*")), *sorted(self.readable.rglob("*"))]
        found: dict[str, Any] = {
            str(path): _state(path) for path in places if os.path.lexists(path)
        }
        found["base"] = sorted(path.name for path in self.base.iterdir())
        found["elsewhere"] = [os.path.exists(f"{at}{self.shm}") for at in ("/dev/shm", "/tmp")]
        found["connections"] = self.listeners.count()
        found["victim"] = self._victim_state()
        return found

    def is_somebody_there(self, seconds: float = 0) -> bool:
        """Whether a process that attempts left holds the pipe; waits so long for none to."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(BlockingIOError):
                while part := os.read(self._pipe, 4096):
                    del part
                return False  # an end, and nobody to write
            if time.monotonic() >= deadline:
                return True
            time.sleep(0.005)

    @contextlib.contextmanager
    def swapping(self) -> Iterator[None]:
        """Links beneath the readable directory that lead in, and out, and in."""
        done = threading.Event()
        new = self.base / "new"

        def swap() -> None:
            while not done.is_set():
                for name, within, without in (
                    ("swapped", self.readable / "data", self.outside / "secret"),
                    ("swapped-directory", self.readable / "inner", self.outside),
                ):
                    for target in (within, without):
                        new.symlink_to(target)
                        new.replace(self.readable / name)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            for name in ("swapped", "swapped-directory"):
                (self.readable / name).unlink(missing_ok=True)

    def close(self) -> None:
        """End the victim, and take away what lies elsewhere."""
        assert self._victim is not None
        self._victim.kill()
        self._victim.wait()
        self._victim.stdout.close()  # type: ignore[union-attr]
        self.listeners.close()
        os.close(self._pipe)
        os.close(self.inherited)
        shutil.rmtree(self.memory)

    def _fill(self) -> None:
        (self.outside / "empty").mkdir(parents=True)
        for name in ("secret", "canary", "inherited", f"{self.mark}.txt"):
            (self.outside / name).write_text(f"{name} {self.mark}\n")
        (self.outside / "telling").symlink_to(f"nowhere/{self.mark}")
        (self.outside / "owners_settings.py").write_text(f"PASSWORD = {self.mark!r}\n")
        with contextlib.closing(sqlite3.connect(self.outside / "database")) as database, database:
            database.execute("CREATE TABLE secret(word)")
            database.execute("INSERT INTO secret VALUES (?)", [self.mark])
        with contextlib.suppress(OSError):
            os.setxattr(self.outside / "secret", "user.secret", self.mark.encode())
        (self.readable / "inner").mkdir()
        (self.readable / "inner" / "secret").write_text("none")
        (self.readable / "data").write_text("data")
        (self.readable / "link").symlink_to(self.outside / "secret")
        (self.writable / "made").mkdir()
        (self.writable / "door").symlink_to(self.outside)
        (self.writable / "canary-link").symlink_to(self.outside / "canary")

    def _start_victim(self) -> None:
        if self._victim is not None:
            if self._victim_state() == self._as_it_was:
                return
            self._victim.kill()
            self._victim.wait()
            self._victim.stdout.close()  # type: ignore[union-attr]
        self._victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _VICTIM, self.mark],
            env={ENVIRONMENT: self.mark},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._victim.stdout is not None
        self._address, self._descriptor = map(int, self._victim.stdout.readline().split())
        self._as_it_was = self._victim_state()

    def _victim_state(self) -> tuple[Any, bytes]:
        memory = b""
        with contextlib.suppress(OSError), open(f"/proc/{self.victim}/mem", "rb", 0) as file:
            file.seek(self._address)
            memory = file.read(len(self.mark))
        return process_state(self.victim), memory


def _state(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    content: Any = None
    if stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    names = os.listxattr(path, follow_symlinks=False)
    # Of a directory that is listed the time says nothing else.
    times = status.st_mtime_ns if content is not None else 0
    return status.st_mode, status.st_uid, status.st_gid, times, content, names


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _device(path: Path) -> str:
    number = path.stat().st_dev
    with contextlib.suppress(OSError):
        found = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/uevent").read_text()
        for line in found.splitlines():
            if line.startswith("DEVNAME="):
                return "/dev/" + line.removeprefix("DEVNAME=")
    return "/dev/none"


def _program_of_another_user(base: Path) -> Path:
    """``id``, with the rights of its owner, who is nobody; only a superuser makes that."""
    made = base / "id-of-nobody"
    shutil.copy("/usr/bin/id", made)
    with contextlib.suppress(OSError):
        os.chown(made, 65534, 65534)
        made.chmod(0o4755)
    return made


def _library(base: Path) -> Path:
    """A library that tells a file when it is loaded; no file where there is no compiler."""
    source, made = base / "library.c", base / "library.so"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "__attribute__((constructor)) static void tell(void) {\n"
        '  char text[512] = ""; FILE* file = fopen(getenv("SECRET"), "r");\n'
        "  if (file && fgets(text, sizeof text, file)) fputs(text, stdout);\n"
        "}\n"
    )
    with contextlib.suppress(OSError):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=False)
    return made
