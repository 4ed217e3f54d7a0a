"""Running the real command in a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "llmspell.cli")


@dataclass(frozen=True)
class Run:
    """What a finished command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


Cli = Callable[..., Run]


def environment(data: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment that touches nothing of the user's, and shows no colour by accident."""
    dropped = {"LLMSPELL_DEBUG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "XDG_DATA_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"LLMSPELL_DATA": str(data), "HOME": str(data.parent)} | dict(extra or {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that isn't there yet."""
    return tmp_path / "data"


@pytest.fixture
def cli(data: Path) -> Cli:
    """Run ``llmspell ARGUMENTS`` in a process of its own, with ``data`` as data directory."""

    def run(*arguments: str, **extra: str) -> Run:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environment(data, extra),
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    return run
