"""Makes this process look like one on another system: for a fresh interpreter, before llmspell.

``python pretence.py PLATFORM SCRIPT`` runs a script so. Paths stay those of the system that this
runs on. What of the standard library chooses by the system is imported before.
"""

from __future__ import annotations

import asyncio  # noqa: F401
import concurrent.futures  # noqa: F401
import ctypes  # noqa: F401
import errno
import fcntl
import http.client  # noqa: F401
import importlib.metadata  # noqa: F401
import json
import logging.handlers  # noqa: F401
import mmap  # noqa: F401
import multiprocessing  # noqa: F401
import os
import platform  # noqa: F401
import random  # noqa: F401
import runpy
import shutil  # noqa: F401
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import sysconfig  # noqa: F401
import tempfile  # noqa: F401
import unittest.mock  # noqa: F401
import urllib.request  # noqa: F401
import uuid  # noqa: F401
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy  # noqa: F401

NOT_INHERITED = os.O_CLOEXEC
flock, locks_all, at_once, unlocks = fcntl.flock, fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN


def locking(descriptor: int, mode: int, count: int) -> None:
    """msvcrt.locking, of one place in a file."""
    if mode == 0:
        flock(descriptor, unlocks)
        return
    assert mode == 2
    try:
        flock(descriptor, locks_all | at_once)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def without_descriptors_of_directories(name: str) -> None:
    """Let a function of os take no dir_fd, and none open a directory, as on Windows."""
    original: Any = getattr(os, name)

    def function(path: Any, *given: Any, **named: Any) -> Any:
        if any(named.pop(key, None) is not None for key in ("dir_fd", "src_dir_fd", "dst_dir_fd")):
            raise NotImplementedError(f"{name}: dir_fd unavailable on this platform")
        if isinstance(path, int) and name == "scandir":
            raise TypeError("scandir: path should be string, bytes, os.PathLike or None, not int")
        if name == "open" and os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return original(path, *given, **named)

    setattr(os, name, function)


def pretend(system: str) -> None:
    """Take away what Python hasn't on that system, and give what Windows' has."""
    absent = json.loads(Path(__file__).with_name("absent.json").read_text())[system]
    for name in absent.pop("", "").split():
        sys.modules[name] = None  # type: ignore[assignment]
    sys.modules["llmspell._sandbox"] = None  # type: ignore[assignment]
    for module, names in absent.items():
        for name in names.split():
            if hasattr(sys.modules[module], name):
                delattr(sys.modules[module], name)
    sys.platform = system
    if system != "win32":
        return
    vars(os).update(O_BINARY=0, O_NOINHERIT=NOT_INHERITED)
    msvcrt = ModuleType("msvcrt")
    vars(msvcrt).update(locking=locking, LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2)
    sys.modules["msvcrt"] = msvcrt
    for name in ("open", "stat", "mkdir", "unlink", "rmdir", "rename", "scandir"):
        without_descriptors_of_directories(name)
    for name in ("supports_dir_fd", "supports_fd"):
        setattr(os, name, set())
    os.umask(0)  # modes say nothing there: what is made is open to all


if __name__ == "__main__":
    pretend(sys.argv[1])
    sys.argv[:] = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
