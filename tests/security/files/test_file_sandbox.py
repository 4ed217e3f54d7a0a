from __future__ import annotations

import copy
import fcntl
import gc
import os
import pickle
import re
import socket
import stat
from collections.abc import Callable
from typing import Any

import pytest

from llmspell.errors import (
    ClosedError,
    InputError,
    InvalidPath,
    PathEscape,
    PathNotAllowed,
)
from llmspell.security import FileSandbox
from llmspell.security.files.resolving import ResolverName
from tests.security.files.rooms import SECRET, Room
from tests.security.sandbox.conftest import await_rest

LINKS = [
    ("to_secret", "to_secret"),
    ("to_outside/secret.txt", "to_outside"),
    ("up/room-evil/secret.txt", "up"),
    ("to_hello", "to_hello"),
    ("dangling", "dangling"),
    ("notes/magic/etc/passwd", "magic"),
]


def test_a_file_is_read_and_written_by_relative_and_absolute_path(
    sandbox: FileSandbox, room: Room, resolver: ResolverName
) -> None:
    assert sandbox.resolver == resolver
    with sandbox.open("notes//./new.txt", "x") as file:
        assert file.name == "notes//./new.txt"
        file.write("né")
    with sandbox.open(room.root / "notes" / "new.txt", "rb") as file:
        assert file.read() == "né".encode()
    with sandbox.open("notes/new.txt", "a") as file:
        file.write("w")
    with sandbox.open("notes/new.txt", "r+") as file:
        assert file.read() == "néw"
    with sandbox.open("notes/new.txt", "w") as file:
        file.write("x")
    assert (room.root / "notes" / "new.txt").read_text() == "x"


def test_names_that_look_like_an_escape_are_names(sandbox: FileSandbox) -> None:
    with sandbox.open("notes/a..b") as file:
        assert file.read() == "two dots"
    with sandbox.open("notes/deep/%2e%2e") as file:
        assert file.read() == "percent"
    for name in ("...", "..\\..", "%2e%2e%2f", "\udcc0\udcae\udcc0\udcae", "~", "$HOME", "\x01"):
        with sandbox.open(name, "x") as file:
            file.write(name.encode(errors="replace").decode())
        assert name in sandbox.listdir()


@pytest.mark.parametrize(("path", "component"), LINKS)
@pytest.mark.parametrize(
    "use",
    [
        lambda sandbox, path: sandbox.open(path),
        lambda sandbox, path: sandbox.open(path, "w"),
        lambda sandbox, path: sandbox.open(path, "a"),
        lambda sandbox, path: sandbox.open(path, "r+"),
        lambda sandbox, path: sandbox.open(path, special=True),
        lambda sandbox, path: sandbox.stat(path),
        lambda sandbox, path: sandbox.listdir(path),
        lambda sandbox, path: list(sandbox.walk(path)),
        lambda sandbox, path: sandbox.mkdir(path, exist_ok=True),
        lambda sandbox, path: sandbox.mkdir(path + "/made"),
        lambda sandbox, path: sandbox.mkdir(path + "/made", parents=True),
        lambda sandbox, path: sandbox.unlink(path + "/secret.txt"),
        lambda sandbox, path: sandbox.rmdir(path + "/secret.txt"),
        lambda sandbox, path: sandbox.rename(path + "/secret.txt", "mine"),
        lambda sandbox, path: sandbox.rename("hello.txt", path + "/moved"),
    ],
)
def test_no_link_is_followed(
    sandbox: FileSandbox,
    room: Room,
    path: str,
    component: str,
    use: Callable[[FileSandbox, str], Any],
) -> None:
    with pytest.raises(PathEscape) as caught:
        use(sandbox, path)
    assert caught.value.component == component
    assert caught.value.root == str(room.root)
    assert component in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "room-evil" not in str(caught.value)
    assert room.secret.read_text() == SECRET
    assert list(room.outside.iterdir()) == [room.secret]
    assert (room.root / "hello.txt").read_text() == "hello"


def test_dots_lead_nowhere(sandbox: FileSandbox, room: Room) -> None:
    for path in ("..", "../room-evil/secret.txt", "notes/../hello.txt", f"{room.root}/../x"):
        with pytest.raises(PathEscape) as caught:
            sandbox.open(path)
        assert caught.value.component == ".."


def test_a_path_beneath_no_root_is_refused_by_component(sandbox: FileSandbox, room: Room) -> None:
    for path in ("/etc/passwd", room.secret, f"{room.root}-evil/secret.txt", "/", "//etc/passwd"):
        with pytest.raises(PathNotAllowed, match="beneath none of the roots"):
            sandbox.open(path)


@pytest.mark.parametrize("path", ["", "a\0b", b"hello.txt", 3, None, "\ud800", "n" * 300])
def test_what_is_no_path_is_refused(sandbox: FileSandbox, path: Any) -> None:
    with pytest.raises(InvalidPath):
        sandbox.open(path)
    with pytest.raises(InvalidPath):
        sandbox.stat(path)


def test_special_files_are_refused_at_once_unless_asked_for(
    sandbox: FileSandbox, room: Room
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(room.root)  # the path of a socket is short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        for name in ("fifo", "socket"):
            for mode in ("r", "w", "rb+"):
                with pytest.raises(PathNotAllowed, match="FIFO, a device or a socket"):
                    sandbox.open(name, mode)
    with sandbox.open("fifo", "rb", special=True, buffering=0) as file:
        assert stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
        assert os.get_blocking(file.fileno())


def test_a_descriptor_is_closed_on_exec_and_waits_for_what_it_reads(sandbox: FileSandbox) -> None:
    descriptor = sandbox.open_fd("hello.txt")
    try:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert os.get_blocking(descriptor)
        assert os.read(descriptor, 9) == b"hello"
    finally:
        os.close(descriptor)


def test_a_directory_is_never_handed_out(sandbox: FileSandbox) -> None:
    for path in (".", "notes"):
        with pytest.raises(IsADirectoryError):
            sandbox.open_fd(path)
        with pytest.raises(IsADirectoryError):
            sandbox.open(path, "w")
    with pytest.raises(InputError):
        sandbox.open_fd("notes", os.O_RDONLY | os.O_DIRECTORY)


def test_flags_and_modes_of_another_kind_are_refused(sandbox: FileSandbox) -> None:
    with pytest.raises(InputError):
        sandbox.open_fd("hello.txt", os.O_RDONLY | os.O_TRUNC)
    with pytest.raises(InputError):
        sandbox.open_fd("suid", os.O_WRONLY | os.O_CREAT, 0o4755)
    with pytest.raises(InputError):
        sandbox.open_fd("hello.txt", 1 << 22)  # O_TMPFILE without its companion


def test_hard_links_are_refused_where_asked_before_anything_changes(
    room: Room, resolver: ResolverName
) -> None:
    os.link(room.secret, room.root / "hard")
    with FileSandbox([room.root], resolver=resolver, single_links=True) as sandbox:
        for mode in ("r", "w", "a"):
            with pytest.raises(PathNotAllowed, match="2 names"):
                sandbox.open("hard", mode)
        with sandbox.open("hello.txt") as file:
            assert file.read() == "hello"
    assert room.secret.read_text() == SECRET
    with FileSandbox([room.root], resolver=resolver) as sandbox, sandbox.open("hard") as file:
        assert file.read() == SECRET  # what can't be told from a file of the root's own


def test_directories_are_made_listed_walked_and_removed(sandbox: FileSandbox, room: Room) -> None:
    sandbox.mkdir("x/y/z", parents=True)
    sandbox.mkdir("x/y/z", parents=True, exist_ok=True)
    with pytest.raises(FileExistsError):
        sandbox.mkdir("x/y/z", parents=True)
    with pytest.raises(FileNotFoundError, match="no/such"):
        sandbox.mkdir("no/such")
    with sandbox.open("x/y/f", "x"):
        pass
    assert list(sandbox.walk("x")) == [
        ("x", ["y"], []),
        ("x/y", ["z"], ["f"]),
        ("x/y/z", [], []),
    ]
    for _, inner, _ in (steps := sandbox.walk("x")):
        inner.clear()
    assert list(steps) == []
    kinds = {
        entry.name: (entry.is_dir, entry.is_file, entry.is_symlink) for entry in sandbox.scandir()
    }
    assert kinds["x"] == (True, False, False)
    assert kinds["hello.txt"] == (False, True, False)
    assert kinds["to_outside"] == (False, False, True)
    assert kinds["fifo"] == (False, False, False)
    assert not any("room-evil" in path for path, _, _ in sandbox.walk())
    sandbox.rmdir("x/y/z")
    with pytest.raises(OSError, match="not empty"):
        sandbox.rmdir("x/y")
    sandbox.rename("x/y/f", "x/g")
    assert sandbox.stat("x/g").st_size == 0
    sandbox.unlink("x/g")
    with pytest.raises(FileNotFoundError, match="x/g"):
        sandbox.stat("x/g")


def test_removing_or_moving_a_link_leaves_what_it_leads_to(
    sandbox: FileSandbox, room: Room
) -> None:
    sandbox.unlink("to_secret")
    sandbox.rename("to_outside", "moved")
    assert (room.root / "moved").is_symlink()
    assert room.secret.read_text() == SECRET


def test_the_root_itself_stays(sandbox: FileSandbox, room: Room) -> None:
    for attempt in (
        lambda: sandbox.rmdir("."),
        lambda: sandbox.unlink("."),
        lambda: sandbox.rename(".", "notes/room"),
        lambda: sandbox.rename("notes", "."),
        lambda: sandbox.mkdir("."),
    ):
        with pytest.raises(OSError, match=re.escape("'.'") + "|notes"):
            attempt()
    sandbox.mkdir(".", exist_ok=True)
    assert sandbox.stat().st_ino == room.root.stat().st_ino
    assert (room.root / "notes").is_dir()


def test_a_file_in_a_path_is_no_directory(sandbox: FileSandbox) -> None:
    with pytest.raises(NotADirectoryError, match=r"hello\.txt/x"):
        sandbox.open("hello.txt/x")
    with pytest.raises(NotADirectoryError):
        sandbox.listdir("fifo")


def test_nothing_is_left_open(room: Room, resolver: ResolverName) -> None:
    await_rest()  # else workers of tools that other tests have here may come meanwhile
    before = set(os.listdir("/dev/fd"))
    with FileSandbox([room.root], resolver=resolver) as sandbox:
        file = sandbox.open("hello.txt")
        for path in ("to_secret", "notes/magic/x", "fifo", "missing/x", "notes", "hello.txt/x"):
            with pytest.raises(OSError, match=path.split("/")[0] + "|magic"):
                sandbox.open(path)
        list(sandbox.walk())
    with pytest.raises(ClosedError):
        sandbox.open("hello.txt")
    sandbox.close()
    assert file.read() == "hello"
    file.close()
    assert set(os.listdir("/dev/fd")) <= before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle.dumps])
def test_a_sandbox_is_not_copied_since_a_copy_would_close_its_roots(
    sandbox: FileSandbox, duplicate: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match=r"holds directories open.*make another"):
        duplicate({"held by": [sandbox]})
    gc.collect()
    with sandbox.open("hello.txt") as file:
        assert file.read() == "hello"


def test_a_root_is_neither_renamed_nor_replaced(sandbox: FileSandbox, room: Room) -> None:
    for source, target in ((".", "x"), ("hello.txt", "."), (room.root, "x")):
        with pytest.raises(PathNotAllowed, match="is the root itself"):
            sandbox.rename(source, target)
    assert (room.root / "hello.txt").read_text() == "hello"


def test_a_directory_is_made_with_permissions_alone(sandbox: FileSandbox, room: Room) -> None:
    for mode in (0o4777, 0o1777, -1):
        with pytest.raises(InputError, match="more than permissions"):
            sandbox.mkdir("made", mode)
    assert not (room.root / "made").exists()
