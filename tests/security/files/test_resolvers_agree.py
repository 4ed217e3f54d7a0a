"""Whatever path is asked for, the kernel and the walk give the same file or the same error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import SecurityError
from llmspell.security import FileSandbox
from tests.security.conftest import needs_openat2
from tests.security.files.rooms import make_room

NAMES = [
    *("hello.txt", "notes", "deep", "a..b", "%2e%2e", "fifo", "missing", "...", "\udcc0\udcae"),
    *("to_secret", "to_outside", "to_hello", "up", "magic", "dangling", "secret.txt", "room"),
    *("..", ".", ""),
]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5).map("/".join)
FLAGS = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("agree")).root


def outcome(sandbox: FileSandbox, path: str, flags: int) -> object:
    try:
        descriptor = sandbox.open_fd(path, flags)
    except (SecurityError, OSError) as error:
        return type(error), str(error), getattr(error, "component", None)
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def listed(sandbox: FileSandbox, path: str) -> object:
    try:
        return sorted(sandbox.listdir(path))
    except (SecurityError, OSError) as error:
        return type(error), str(error)


@needs_openat2
@settings(max_examples=400, deadline=None)
@given(path=PATHS, flags=FLAGS)
def test_both_resolvers_agree(root: Path, path: str, flags: int) -> None:
    with (
        FileSandbox([root], resolver="openat2") as kernel,
        FileSandbox([root], resolver="walk") as walk,
    ):
        assert outcome(kernel, path, flags) == outcome(walk, path, flags)
        assert listed(kernel, path) == listed(walk, path)
