from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell.security import FileSandbox
from llmspell.security.files.resolving import ResolverName
from tests.security.files.rooms import Room, has_openat2, make_room

needs_openat2 = pytest.mark.skipif(not has_openat2(), reason="this kernel has no openat2")


@pytest.fixture(params=[pytest.param("openat2", marks=needs_openat2), "walk"])
def resolver(request: pytest.FixtureRequest) -> ResolverName:
    name: ResolverName = request.param
    return name


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return make_room(tmp_path)


@pytest.fixture
def sandbox(room: Room, resolver: ResolverName) -> Iterator[FileSandbox]:
    with FileSandbox([room.root], resolver=resolver) as made:
        yield made
