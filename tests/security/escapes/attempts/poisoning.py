"""Leaves things behind for whoever comes next, and looks for what was left."""

import atexit
import builtins
import contextlib
import fcntl
import gc
import json
import locale
import marshal
import os
import random
import signal
import sys
import threading
import time
import types

import msgpack

MARK = "left behind"
_HERE = []


def _forged(*given, **named):
    return b"forged"


def poison():
    """Everywhere that code of this process would pass."""
    builtins.poisoned = MARK
    os.environ["POISONED"] = MARK
    os.getpid = lambda: -1
    json.dumps = _forged
    json.poisoned = MARK
    _HERE.append(MARK)
    sys.modules["poisoned"] = types.ModuleType("poisoned")
    sys.path.insert(0, MARK)
    sys.meta_path.insert(0, _Finder())
    sys.setswitchinterval(0.5)
    sys.setrecursionlimit(500)
    random.seed(1)
    gc.disable()
    gc.callbacks.append(lambda phase, told: None)
    atexit.register(lambda: os.write(1, MARK.encode()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    with contextlib.suppress(OSError):
        os.umask(0)
    locale.setlocale(locale.LC_ALL, "C")
    threading.current_thread().name = MARK
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    for module in list(sys.modules.values()):
        if module is not None and getattr(module, "__name__", "").startswith("llmspell."):
            module.poisoned = MARK
    for descriptor in range(10):
        with contextlib.suppress(OSError):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    return True


def poison_what_serves():
    """Whatever calls and answers from now on is this module's."""
    for name in ("serving", "frames", "loader", "captured", "processes"):
        module = sys.modules.get(f"llmspell.security.sandbox.worker.{name}")
        if module is not None:
            for attribute in ("pack_frame", "write_all", "take_frame", "_call", "serve", "install"):
                if hasattr(module, attribute):
                    setattr(module, attribute, _forged)
    marshal.loads = _forged
    msgpack.packb = _forged
    msgpack.unpackb = _forged
    return True


class _Finder:
    def find_spec(self, name, path, target=None):
        return None


def found():
    """Signs that another was here."""
    signs = {
        "builtins": hasattr(builtins, "poisoned"),
        "environment": "POISONED" in os.environ,
        "os": os.getpid() == -1,
        "json": hasattr(json, "poisoned"),
        "its own module": bool(_HERE),
        "sys.modules": "poisoned" in sys.modules,
        "sys.path": MARK in sys.path,
        "sys.meta_path": any(isinstance(one, _Finder) for one in sys.meta_path),
        "switches": sys.getswitchinterval() == 0.5,
        "recursion": sys.getrecursionlimit() == 500,
        "gc": not gc.isenabled(),
        "gc.callbacks": bool(gc.callbacks),
        "signals": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
        "mask": signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "threads": threading.active_count() > 1,
        "llmspell": any(
            hasattr(module, "poisoned")
            for name, module in list(sys.modules.items())
            if name.startswith("llmspell.")
        ),
        "descriptors": _is_appending(),
    }
    return [name for name, is_there in signs.items() if is_there]


def _is_appending():
    for descriptor in range(10):
        with contextlib.suppress(OSError):
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
                return True
    return False


def who():
    return os.getpid()


def number():
    return random.getrandbits(64)
