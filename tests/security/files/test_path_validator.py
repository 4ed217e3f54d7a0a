from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from llmspell.errors import ConfigError, InvalidPath, PathEscape, PathNotAllowed
from llmspell.security import PathValidator

POSIX = PathValidator(windows=False)
WINDOWS = PathValidator(windows=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a..b", "a..b"),
        ("..a/b..", "..a/b.."),
        ("...", "..."),
        ("./a//b/.", "a/b"),
        (".", "."),
        ("%2e%2e/%2e%2e/etc/passwd", "%2e%2e/%2e%2e/etc/passwd"),
        ("\udcc0\udcae\udcc0\udcae/x", "\udcc0\udcae\udcc0\udcae/x"),
        ("..\\..\\x", "..\\..\\x"),
        ("C:/x", "C:/x"),
        ("~/$HOME/etc", "~/$HOME/etc"),
        ("Ünïcödé/日本/👩‍👩‍👧.txt", "Ünïcödé/日本/👩‍👩‍👧.txt"),
        (PurePosixPath("a/b"), "a/b"),
    ],
)
def test_what_is_only_a_name_passes(path: Any, expected: str) -> None:
    assert POSIX.validate(path) == PurePosixPath(expected)


@pytest.mark.parametrize("path", ["..", "a/..", "../a", "a/../b", "./.././x", "a//..//b"])
def test_the_component_that_leads_upwards_is_refused(path: str) -> None:
    for validator in (POSIX, WINDOWS):
        with pytest.raises(PathEscape, match=r"'\.\.'") as caught:
            validator.validate(path)
        assert caught.value.component == ".."


@pytest.mark.parametrize(
    "path",
    [
        *("", "a\0b", "a\nb", "a/\x1b[2J", "\x7f", "a\x85", "x\u202egnp.exe", "a\u2028", "\ud800"),
        *("a" * 256, "é" * 128, "a/" * 2047 + "bc", "a/" * 128 + "b", b"a", 5, None),
    ],
)
def test_what_no_name_should_have_is_refused(path: Any) -> None:
    with pytest.raises(InvalidPath):
        POSIX.validate(path)


def test_limits_are_those_that_are_set() -> None:
    assert POSIX.validate("a" * 255).name == "a" * 255
    assert POSIX.validate("a/" * 127 + "b").name == "b"
    small = PathValidator(windows=False, max_bytes=9, max_name_bytes=3, max_depth=3)
    assert str(small.validate("abc/def/g")) == "abc/def/g"
    for path in ("abcd", "a/b/c/d", "abc/def/gh"):
        with pytest.raises(InvalidPath):
            small.validate(path)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ConfigError):
            PathValidator(max_depth=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    [
        *("..\\x", "C:", "c:/x", "C:x", "a/file.txt:stream", "file::$DATA", "CON", "nul.txt"),
        *("a/COM1.log", "lpt¹", "Aux .txt", "a.", "a ", ".../x", "a?b", "a*", "a|b", "<a>"),
        *('"a"', "\\\\server\\x"),
    ],
)
def test_windows_forms_are_refused_for_windows_alone(path: str) -> None:
    with pytest.raises(InvalidPath, match="Windows"):
        WINDOWS.validate(path)
    POSIX.validate(path)


@pytest.mark.parametrize("path", ["console.txt", "nullable", "com10", "aux_in", ".git", "a.b.c"])
def test_names_near_a_device_pass_on_windows(path: str) -> None:
    assert WINDOWS.validate(path) == PurePosixPath(path)


def test_an_absolute_path_is_compared_by_component() -> None:
    validator = PathValidator(["/workspace", "/data/in"], windows=False)
    assert str(validator.validate("/workspace//a/./b")) == "/workspace/a/b"
    assert str(validator.validate("//workspace")) == "/workspace"
    assert str(validator.validate("/data/in/x")) == "/data/in/x"
    for path in ("/workspace-evil", "/workspace-evil/x", "/work", "/data", "/data/inside", "/"):
        with pytest.raises(PathNotAllowed):
            validator.validate(path)
    with pytest.raises(PathNotAllowed):
        POSIX.validate("/workspace")
    with pytest.raises(PathEscape):
        validator.validate("/workspace/../etc/passwd")
    with pytest.raises(ConfigError):
        PathValidator(["workspace"])
    with pytest.raises(ConfigError):
        PathValidator("/workspace")


@pytest.mark.parametrize("mark", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069")
def test_each_mark_that_turns_the_direction_of_text_is_refused(mark: str) -> None:
    with pytest.raises(InvalidPath, match=f"U\\+{ord(mark):04X}"):
        PathValidator().validate(f"a{mark}b")
