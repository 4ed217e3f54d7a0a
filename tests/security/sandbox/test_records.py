"""What a sandbox tells the audit log."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.errors import SandboxUnavailable, ToolTimeout
from llmspell.security import AuditLog, Sandbox, read_audit, verify_audit
from tests.security.sandbox.conftest import SAFE, TOOLS
from tests.security.sandbox.test_loading import NOTHING


def records(path: Path) -> list[tuple[str, str, str, str | None]]:
    assert verify_audit(path).is_sound
    return [(one.kind, one.subject, one.outcome, one.tenant) for one in read_audit(path)]


def test_a_tool_that_the_host_can_t_confine_is_a_denial(tmp_path: Path) -> None:
    with (
        AuditLog.open(tmp_path / "audit") as log,
        Sandbox(host=NOTHING, audit=log) as sandbox,
        pytest.raises(SandboxUnavailable),
    ):
        sandbox.load("plain", ["words"], SAFE, path=[TOOLS])
    assert records(tmp_path / "audit") == [("tool.run", "plain", "denied", None)]


def test_each_call_that_nothing_confines_is_recorded_before_it_is_made(tmp_path: Path) -> None:
    with (
        AuditLog.open(tmp_path / "audit") as log,
        Sandbox(host=NOTHING, allow_unsandboxed=True, audit=log) as sandbox,
    ):
        tool = sandbox.load("plain", ["words"], SAFE, path=[TOOLS])
        tool.call("words", ["a"], tenant="acme")
    expected = [("tool.run_unsandboxed", "plain.words", "done", "acme")]
    assert records(tmp_path / "audit") == expected


def test_a_call_that_was_killed_is_a_denial(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit") as log, Sandbox(audit=log) as sandbox:
        if sandbox.host.missing_for(SAFE):
            pytest.skip("this host can't confine tools")
        tool = sandbox.load("plain", ["sleeps"], SAFE, path=[TOOLS])
        with pytest.raises(ToolTimeout):
            tool.call("sleeps", [5], timeout=0.05, tenant="acme")
    assert records(tmp_path / "audit") == [("tool.run", "plain.sleeps", "denied", "acme")]
