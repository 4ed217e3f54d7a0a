"""Running the command: in this process where that is enough, in one of its own otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmspell.cli.app import app

COMMAND = (sys.executable, "-m", "llmspell.cli")

# What must not come in from outside: a stray one changes what is shown or where data is.
UNSET = (
    "LLMSPELL_DEBUG",
    "LLMSPELL_SHARED_QUOTAS",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "XDG_DATA_HOME",
)


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


def environment(data: Path, **extra: str) -> dict[str, str]:
    """An environment in which the command touches nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | {"LLMSPELL_DATA": str(data), "HOME": str(data.parent)} | extra


def run_process(data: Path, *arguments: str, **extra: str) -> Run:
    """Run ``llmspell ARGUMENTS`` in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(data, **extra),
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def run_here(data: Path, *arguments: str, stdin: bytes = b"", **extra: str) -> Run:
    """Run ``llmspell ARGUMENTS`` in this process."""
    settings: dict[str, str | None] = dict.fromkeys(UNSET)
    settings |= {"LLMSPELL_DATA": str(data), "HOME": str(data.parent)}
    settings |= extra
    done = CliRunner().invoke(app, arguments, stdin, env=settings, prog_name="llmspell")
    return Run(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that isn't there yet."""
    return tmp_path / "data"


@pytest.fixture
def cli(data: Path) -> Cli:
    """Run commands in this process, on ``data``."""
    return lambda *arguments, **extra: run_here(data, *arguments, **extra)


@pytest.fixture
def process(data: Path) -> Cli:
    """Run commands in processes of their own, on ``data``."""
    return lambda *arguments, **extra: run_process(data, *arguments, **extra)
