from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell.security import FileSandbox
from llmspell.security.files import roots
from llmspell.security.files.directory import NamedDirectory
from llmspell.security.files.resolving import ResolverName
from tests.security.files.rooms import Room, has_openat2, make_room

needs_openat2 = pytest.mark.skipif(not has_openat2(), reason="this kernel has no openat2")


@pytest.fixture(params=[pytest.param("openat2", marks=needs_openat2), "walk", "walk by paths"])
def resolver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ResolverName:
    name: ResolverName = request.param.partition(" ")[0]
    if request.param == "walk by paths":  # as on Windows
        monkeypatch.setattr(roots, "open_directory", NamedDirectory)
    return name


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return make_room(tmp_path)


@pytest.fixture
def sandbox(room: Room, resolver: ResolverName) -> Iterator[FileSandbox]:
    with FileSandbox([room.root], resolver=resolver) as made:
        yield made
