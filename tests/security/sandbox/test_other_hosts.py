"""Where Python or the system lacks what the sandbox is made of: told by name, nothing started."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from llmspell.errors import SandboxUnavailable
from llmspell.security import Sandbox
from tests.security.sandbox.conftest import SAFE

# Names that Windows' Python, or macOS's where it says so, is without. What of the standard library
# chooses by the platform is imported before.
WITHOUT = """
    import asyncio, concurrent.futures, ctypes, email, http.client, importlib.metadata, inspect
    import linecache, logging, mmap, multiprocessing, os, platform, select, shutil, signal, socket
    import ssl, subprocess, sys, sysconfig, tempfile, threading, traceback, unittest, urllib.request
    import numpy, uuid, random

    def without(module, *names):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)

    sys.platform = {platform!r}
    linux = ("memfd_create", "pidfd_open", "pipe2", "O_PATH", "sched_getaffinity", "eventfd")
    without(os, *linux)
    without(signal, "pidfd_send_signal")
    without(socket, "MSG_CMSG_CLOEXEC", "SO_PEERCRED")
    without(select, "epoll")
    if sys.platform == "win32":
        without(os, "fork", "register_at_fork", "geteuid", "getuid", "getegid", "getgid")
        without(os, "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "sysconf", "killpg")
        without(os, "set_blocking", "WNOHANG", "pread", "pwrite", "setsid", "fchmod", "fchown")
        without(os, "fchdir", "chroot", "getpgid", "openpty", "posix_spawn", "statvfs")
        without(select, "poll")
        without(signal, "SIGCHLD", "SIGKILL", "SIGALRM", "alarm", "setitimer", "pthread_sigmask")
        without(socket, "AF_UNIX", "send_fds", "recv_fds")
        for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
            sys.modules[name] = None
    sys.modules["llmspell._sandbox"] = None
"""
REFUSED = """
    import llmspell.security
    from llmspell.errors import MissingDependency, SandboxUnavailable
    from llmspell.security import Sandbox, SecurityRequirements

    # Of the rest, what has files to guard needs POSIX.
    windows = [
        *("Broker", "BrokerLimits", "ConfinedTool", "EgressProxy", "Sandbox", "SandboxCounters"),
        *("SecurityLevel", "SecurityRequirements", "Session", "ToolDefinition", "ToolResult"),
        *("UnconfinedTool", "check_level"),
    ]
    for name in windows if sys.platform == "win32" else llmspell.security.__all__:
        try:
            getattr(llmspell.security, name)
        except MissingDependency:
            pass
    import llmspell.security.egress

    needs = SecurityRequirements.safe()
    source = "def run():\\n    return 7\\n"
    with Sandbox() as sandbox:
        try:
            sandbox.load("made", ["run"], needs, source=source)
        except SandboxUnavailable as error:
            assert error.missing == (sys.platform + " isn't Linux",), error.missing
        else:
            raise SystemExit("it was loaded")
    with Sandbox(allow_unsandboxed=True) as sandbox:
        tool = sandbox.load("made", ["run"], needs, source=source)
        assert tool.call("run").value == 7 and not tool.is_confined
    print("all is told")
"""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_on_other_systems_all_imports_and_a_tool_is_refused_by_name(platform: str) -> None:
    script = textwrap.dedent(WITHOUT.format(platform=platform) + REFUSED)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "all is told\n"), done.stderr


@pytest.mark.parametrize(
    "name",
    ["os.memfd_create", "os.pidfd_open", "signal.pidfd_send_signal", "select.poll"],
)
def test_a_python_that_was_built_without_what_is_needed_is_told(
    sandbox: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(name)
    with Sandbox(host=sandbox.host) as own:
        with pytest.raises(SandboxUnavailable, match="this build of Python lacks it") as caught:
            own.load("made", ["run"], SAFE, source="def run(): pass\n")
        assert caught.value.missing == (f"{name}: this build of Python lacks it",)
        assert own._server._process is None


def test_a_build_without_the_extension_module_is_told(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llmspell._sandbox", None)
    with (
        Sandbox(host=sandbox.host) as own,
        pytest.raises(SandboxUnavailable, match="this build of llmspell lacks it"),
    ):
        own.load("made", ["run"], SAFE, source="def run(): pass\n")
