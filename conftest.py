"""Runs the Python examples of the README and the docs, each page's in order, in an empty folder."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.integration.pytest import SybilItem
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
    namespace["_ran"] = {}
    namespace["_home"] = Path.cwd()
    namespace["_folder"] = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.chdir(namespace["_folder"].name)


def run_in_order(example: Example) -> None:
    """Run an example behind those of its page before it, which may be another process's to test."""
    ran: dict[int, Exception | None] = example.namespace["_ran"]
    whole = [*example.document.examples()]
    for one in whole:
        if one.start <= example.start and one.start not in ran:
            ran[one.start] = None
            try:
                one.evaluate()
            except Exception as error:  # a skip, too
                ran[one.start] = error
    example.namespace["_is_at_its_end"] = whole[-1].start in ran
    if (failure := ran[example.start]) is not None:
        raise failure


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the examples of a page be tests of their own, in any of the processes of ``-n``."""
    if isinstance(item, SybilItem):
        item.runtest = partial(run_in_order, item.example)  # type: ignore[method-assign]


def leave_folder(namespace: dict[str, Any]) -> None:
    """Go back, and remove what they wrote."""
    os.chdir(namespace["_home"])
    folder = namespace["_folder"]
    if not namespace.get("_is_at_its_end"):
        # Another process runs the end of the page, which closes what its beginning opened. Here it
        # would be garbage that some other test is told of.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            namespace.clear()
            gc.collect()
    folder.cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md", "docs/*.md"],
    setup=enter_empty_folder,
    teardown=leave_folder,
).pytest()
