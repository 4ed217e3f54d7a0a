"""Runs the trials of the host on a kernel that lacks a system call, or lies about it.

``python refusing.py NUMBER ERROR``: a filter answers the call with the error, or with success and
nothing done where ERROR is 0; then the trials run.
"""

import ctypes
import os
import sys

from llmspell.security.host import trials


def main(number: int, error: int) -> None:
    trials.no_new_privs()
    instructions = (
        trials._Instruction(0x20, 0, 0, 0),
        trials._Instruction(0x15, 0, 1, number),
        trials._Instruction(0x06, 0, 0, trials.SECCOMP_RET_ERRNO | error),
        trials._Instruction(0x06, 0, 0, trials.SECCOMP_RET_ALLOW),
    )
    program = trials._Program(
        len(instructions), (trials._Instruction * len(instructions))(*instructions)
    )
    trials.prctl(
        "PR_SET_SECCOMP", trials.PR_SET_SECCOMP, trials.SECCOMP_MODE_FILTER, ctypes.byref(program)
    )
    os.execv(sys.executable, [sys.executable, "-I", "-S", trials.__file__])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
