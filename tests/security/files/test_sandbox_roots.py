from __future__ import annotations

import ntpath
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import ConfigError, InvalidPath, PathEscape, PathNotAllowed
from llmspell.security import FileSandbox
from llmspell.security.files import roots
from llmspell.security.files.resolving import ResolverName
from tests.security.files.rooms import Room


def test_a_read_only_root_is_read_alone(room: Room, resolver: ResolverName) -> None:
    with FileSandbox([], read_only=[room.root], resolver=resolver) as sandbox:
        with sandbox.open("hello.txt") as file:
            assert file.read() == "hello"
        attempts: list[Callable[[], Any]] = [
            *(lambda mode=mode: sandbox.open("hello.txt", mode) for mode in ("w", "a", "r+")),
            lambda: sandbox.open("made", "x"),
            lambda: sandbox.open_fd("made", os.O_RDONLY | os.O_CREAT),
            lambda: sandbox.mkdir("made"),
            lambda: sandbox.unlink("hello.txt"),
            lambda: sandbox.rmdir("notes"),
            lambda: sandbox.rename("hello.txt", "made"),
        ]
        for attempt in attempts:
            with pytest.raises(PathNotAllowed, match="read-only"):
                attempt()
    assert (room.root / "hello.txt").read_text() == "hello"
    assert not (room.root / "made").exists()


def test_the_innermost_root_decides(tmp_path: Path, resolver: ResolverName) -> None:
    outer, inner, other = tmp_path / "outer", tmp_path / "outer" / "out", tmp_path / "other"
    inner.mkdir(parents=True)
    other.mkdir()
    with FileSandbox([inner, other], read_only=[outer], resolver=resolver) as sandbox:
        with sandbox.open(inner / "made", "x") as file:
            file.write("1")
        assert sandbox.listdir() == ["made"]
        assert sandbox.listdir(outer) == ["out"]
        with pytest.raises(PathNotAllowed, match="read-only"):
            sandbox.open(outer / "made", "x")
        with pytest.raises(PathNotAllowed, match="copy it instead"):
            sandbox.rename("made", other / "made")
        sandbox.rename("made", inner / "moved")
    assert (inner / "moved").read_text() == "1"


def test_roots_that_disagree_are_refused(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    alias = tmp_path / "alias"
    alias.symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError, match="through which it could be moved"):
        FileSandbox([tmp_path / "a"], read_only=[inner])
    with pytest.raises(ConfigError, match="through which it could be moved"):
        FileSandbox([alias], read_only=[inner])
    with pytest.raises(ConfigError, match="twice"):
        FileSandbox([tmp_path / "a"], read_only=[alias])
    for given in ([], ["relative"], [tmp_path / "missing"], str(tmp_path)):
        with pytest.raises(ConfigError):
            FileSandbox(given)
    with pytest.raises(ConfigError, match="resolver"):
        FileSandbox([tmp_path], resolver="other")  # type: ignore[arg-type]


def test_a_root_named_by_a_link_is_followed_once(tmp_path: Path, resolver: ResolverName) -> None:
    real, alias = tmp_path / "real", tmp_path / "alias"
    real.mkdir()
    (real / "a").write_text("a")
    alias.symlink_to(real)
    with FileSandbox([alias], resolver=resolver) as sandbox:
        alias.unlink()
        alias.symlink_to("/etc")
        for path in (alias / "a", real / "a", "a"):
            with sandbox.open(path) as file:
                assert file.read() == "a"
        with pytest.raises(FileNotFoundError):
            sandbox.open(alias / "passwd")


def test_paths_of_windows_have_drives_backslashes_and_no_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as windows:
        windows.setattr(os, "path", ntpath)
        windows.setattr(os, "sep", "\\")
        windows.setattr(sys, "platform", "win32")
        root = object.__new__(roots.Root)
        root.name = "C:\\Work"
        root.spellings = (("C:", "Work"), ("C:", "Work"))
        for path in ("a/b", "a\\b", "c:\\work\\a\\.\\b", "C:/WORK/a/b"):
            assert roots.locate([root], path) == (root, ("a", "b"))
        assert roots.absolute_path(("C:", "Work", "a")) == "C:\\Work\\a"
        for path, error in {
            "..\\a": PathEscape,
            "C:\\Work\\..\\Windows": PathEscape,
            "C:\\Work-evil\\a": PathNotAllowed,
            "D:\\Work\\a": PathNotAllowed,
            "\\Work\\a": PathNotAllowed,
            "\\\\server\\share\\Work": PathNotAllowed,
            "\\\\?\\C:\\Work\\a": PathNotAllowed,
            "C:a": InvalidPath,
            "a\\b:stream": InvalidPath,
            "aux.txt": InvalidPath,
            "a./b": InvalidPath,
        }.items():
            with pytest.raises(error):
                roots.locate([root], path)
