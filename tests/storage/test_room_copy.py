"""Copies of rooms that an exception from elsewhere cuts short."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from types import CodeType, FrameType
from typing import Any

import pytest

from llmspell.storage.room_copy import EnvironmentFile, _Copier

BEGINNING = _Copier.__init__.__code__


def cut_at(code: CodeType, bytecode: int) -> Any:
    """A trace function that raises before one bytecode of some code, where a signal may come."""
    left = bytecode

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    return trace


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the descriptors of /proc")
def test_a_copy_cut_short_at_its_beginning_leaves_no_descriptor(
    request: pytest.FixtureRequest,
) -> None:
    traced = sys.gettrace()
    before = descriptors()
    cuts = 0
    # What else the process holds need not be looked through again at each cut.
    gc.freeze()
    request.addfinalizer(gc.unfreeze)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # closing themselves, files say so
        while True:
            file = EnvironmentFile(lambda descriptor: None)
            sys.settrace(cut_at(BEGINNING, cuts))
            try:
                _Copier(file.copy_to)
                break
            except KeyboardInterrupt:
                cuts += 1
            finally:
                sys.settrace(traced)
            gc.collect()
            # Behind earlier tests a thread may still close what it had.
            assert descriptors() <= before, cuts
        gc.collect()
    assert cuts > 10
    assert descriptors() <= before
