"""Calls that another thread ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from llmspell.errors import ToolFailed
from llmspell.security import CallCancel, ConfinedTool, Sandbox, SecurityRequirements
from tests.security.sandbox.conftest import SAFE, TOOLS, confined, skip_where_missing
from tests.security.sandbox.test_loading import NOTHING

BUSY = """
import pathlib, time

def hold(path):
    pathlib.Path(path).touch()
    time.sleep(60)
"""


def test_a_cancelled_call_fails_and_its_worker_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    needed = SecurityRequirements.restricted().with_file_access(tmp_path).with_timeout(60)
    skip_where_missing(sandbox, needed)
    sign, cancel = tmp_path / "runs", CallCancel()

    def cancel_soon() -> None:
        while not sign.exists():
            time.sleep(0.005)
        cancel.cancel()

    with sandbox.load("busy", ["hold"], needed, source=BUSY) as tool:
        other = threading.Thread(target=cancel_soon)
        other.start()
        with pytest.raises(ToolFailed, match="its process ended") as caught:
            tool.call("hold", [str(sign)], cancel=cancel)
        other.join()
        assert type(caught.value) is ToolFailed  # no timeout
        assert cancel.is_cancelled


def test_a_call_that_was_cancelled_before_it_began_does_not_begin(plain: ConfinedTool) -> None:
    cancel = CallCancel()
    cancel.cancel()
    with pytest.raises(ToolFailed, match="echo: cancelled"):
        plain.call("echo", [1], cancel=cancel)


def test_cancelling_what_is_over_reaches_no_other_call(sandbox: Sandbox) -> None:
    with confined(sandbox, SAFE, keep_workers=True) as tool:
        cancel = CallCancel()
        first = tool.call("who", [], cancel=cancel).value
        cancel.cancel()
        assert tool.call("who", []).value == first


def test_what_nothing_confines_is_cancelled_before_it_begins() -> None:
    with Sandbox(host=NOTHING, allow_unsandboxed=True) as own:
        tool = own.load("plain", ["echo"], SAFE, path=[TOOLS])
        cancel = CallCancel()
        assert tool.call("echo", [1], cancel=cancel).value == [[1], {}]
        cancel.cancel()
        with pytest.raises(ToolFailed, match="echo: cancelled"):
            tool.call("echo", [1], cancel=cancel)
