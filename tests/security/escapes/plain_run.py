"""Runs an attempt in a plain child of this process: what it does without a sandbox.

``plain_run.py ATTEMPTS MODULE FUNCTION ANSWER``; the room as JSON comes by stdin, at whose end all
that the attempt has left is ended. One line of JSON is written to the descriptor ANSWER.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def answer(descriptor, **told):
    os.write(descriptor, json.dumps(told).encode() + b"\n")


def attempt(module, function, room, descriptor):
    try:
        value = getattr(importlib.import_module(module), function)(room)
    except BaseException as error:
        answer(descriptor, error=f"{type(error).__name__}: {error}"[:500])
    else:
        answer(descriptor, value=value)


def end_all():
    """Whatever was left is this process's child by now, or becomes it."""
    with contextlib.suppress(ChildProcessError):
        while True:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                for child in map(int, file.read().split()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def main():
    attempts, module, function, descriptor = sys.argv[1:]
    sys.path.insert(0, attempts)
    room = json.loads(sys.stdin.readline())
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.setsid()
        attempt(module, function, room, int(descriptor))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        answer(int(descriptor), error=f"it ended with {code}")
    sys.stdin.read()
    end_all()


main()
