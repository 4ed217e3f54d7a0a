"""Where Python lacks what the sandbox is made of: told by name, nothing started."""

from __future__ import annotations

import sys

import pytest

from llmspell.errors import SandboxUnavailable
from llmspell.security import Sandbox
from tests.security.sandbox.conftest import SAFE


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
        assert own._server.process is None


def test_a_build_without_the_extension_module_is_told(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llmspell._sandbox", None)
    with (
        Sandbox(host=sandbox.host) as own,
        pytest.raises(SandboxUnavailable, match="this build of llmspell lacks it"),
    ):
        own.load("made", ["run"], SAFE, source="def run(): pass\n")
