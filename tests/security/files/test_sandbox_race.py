"""Another thread swaps what is opened, thousands of times: never is it a file outside."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from llmspell.errors import PathEscape
from llmspell.security import FileSandbox
from llmspell.security.files.resolving import ResolverName
from tests.security.conftest import needs_openat2
from tests.security.files.rooms import SECRET, Room

OPENINGS = 20_000
CHANGES = 4000


@pytest.fixture(params=[pytest.param("openat2", marks=needs_openat2), "walk"])
def resolver(request: pytest.FixtureRequest) -> ResolverName:
    """Without the walk by paths, which says of itself that it can be raced."""
    name: ResolverName = request.param
    return name


@contextmanager
def beside(step: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Run a step over and over in another thread; yields how often it ran so far."""
    stop = threading.Event()
    count = 0

    def work() -> None:
        nonlocal count
        while not stop.is_set():
            step()
            count += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: count
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def swapped(room: Room) -> Callable[[], None]:
    """Swaps the directory ``inner`` with a link to the one outside, and back."""
    inner, link, aside = room.root / "inner", room.root / "link", room.root / "aside"
    inner.mkdir()
    (inner / "secret.txt").write_text("inside")
    link.symlink_to(room.outside)

    def swap() -> None:
        os.rename(inner, aside)
        os.rename(link, inner)
        os.rename(inner, link)
        os.rename(aside, inner)

    return swap


def test_a_check_before_the_opening_is_fooled(room: Room, swapped: Callable[[], None]) -> None:
    path, inside = room.root / "inner" / "secret.txt", os.path.realpath(room.root) + "/"
    seen = ""
    with beside(swapped):
        while seen != SECRET:
            with suppress(OSError):
                if os.path.realpath(path).startswith(inside):
                    seen = path.read_text()


def test_a_swapped_directory_never_leads_outside(
    sandbox: FileSandbox, room: Room, swapped: Callable[[], None]
) -> None:
    seen: Counter[str] = Counter()
    with beside(swapped) as swaps:
        # Until each outcome was met: a machine may run one of the threads alone for a while.
        while sum(seen.values()) < OPENINGS or not (seen["inside"] and seen["link"]):
            try:
                with sandbox.open("inner/secret.txt") as file:
                    seen[file.read()] += 1
            except PathEscape:
                seen["link"] += 1
            except (FileNotFoundError, NotADirectoryError):
                seen["gone"] += 1
        assert swaps() > 0
    assert seen[SECRET] == 0
    assert set(seen) <= {"inside", "link", "gone"}


def test_a_swapped_directory_is_never_written_through(
    sandbox: FileSandbox, room: Room, swapped: Callable[[], None]
) -> None:
    names: set[str] = set()
    with beside(swapped):
        for number in range(CHANGES):
            with suppress(PathEscape, FileNotFoundError, NotADirectoryError):
                sandbox.mkdir(f"inner/{number}")
            with suppress(PathEscape, FileNotFoundError, NotADirectoryError):
                sandbox.rename("inner/secret.txt", "taken")
            with suppress(PathEscape, FileNotFoundError, NotADirectoryError):
                sandbox.rename("taken", "inner/secret.txt")
            with suppress(PathEscape, FileNotFoundError, NotADirectoryError):
                names.update(sandbox.listdir("inner"))
            with suppress(PathEscape, FileNotFoundError, NotADirectoryError):
                sandbox.unlink("inner/secret.txt")
    assert [path.name for path in room.outside.iterdir()] == ["secret.txt"]
    assert room.secret.read_text() == SECRET
    assert names  # the directory was listed at times
    assert not (room.root / "taken").exists() or (room.root / "taken").read_text() == "inside"
