"""Runs the Python examples of the README and the docs, each page's in order, in an empty folder."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

from llmspell.observability import MODELS
from llmspell.security import SecurityLevel
from llmspell.security.host import probe


def pytest_configure() -> None:
    """Count all models apart: the servers of all tests of a process are more than it does."""
    MODELS._max_models = sys.maxsize


def confines_tools() -> bool:
    """Whether this host can: the examples of the sandbox are skipped where it can't."""
    return not probe().missing_for(SecurityLevel.SAFE)


def enter_empty_folder(namespace: dict[str, Any]) -> None:
    """Let a page's examples write where nothing is in their way."""
    namespace["confines_tools"] = confines_tools
    namespace["_home"] = Path.cwd()
    namespace["_folder"] = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.chdir(namespace["_folder"].name)


def leave_folder(namespace: dict[str, Any]) -> None:
    """Go back, and remove what they wrote."""
    os.chdir(namespace["_home"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md", "docs/*.md"],
    setup=enter_empty_folder,
    teardown=leave_folder,
).pytest()
