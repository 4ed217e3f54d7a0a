"""Files beneath one directory: read, listed, searched, written."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from llmspell.security import FileSandbox, SecurityRequirements
from llmspell.tools import FunctionTool, tool

__all__ = ["file_tools"]

_MAX_READ: Final = 256 << 10
_MAX_SEARCHED: Final = 2 << 20
_MAX_LINE: Final = 500


def file_tools(
    root: str | os.PathLike[str], *, write: bool = False
) -> list[FunctionTool[..., Any]]:
    """Tools for the files beneath a directory, and for no others.

    They run confined, as RESTRICTED tools that may read ``root``, and write in it where ``write``
    is True; no symbolic link is followed.

    Args:
        root: an absolute path; the directory is there when the tools are first called.
        write: give ``write_file`` too.

    Raises:
        ConfigError, RequirementDenied: a path that no RESTRICTED tool may have.
    """
    reading = SecurityRequirements.restricted().with_read_only(root)
    found: list[FunctionTool[..., Any]] = [
        one.with_options(requirements=reading, idempotent=True).bind(root=os.fspath(root))
        for one in (read_file, list_files, search_files)
    ]
    if write:
        writing = SecurityRequirements.restricted().with_file_access(root)
        found.append(write_file.with_options(requirements=writing).bind(root=os.fspath(root)))
    return found


@tool
def read_file(path: str, root: str, first_line: int = 1, max_lines: int = 1_000) -> dict[str, Any]:
    """Read a text file, or some of its lines.

    Args:
        path: relative, such as "notes/today.md".
        first_line: from 1.
        max_lines: that are read at most.
    """
    taken: list[str] = []
    room = _MAX_READ
    total = 0
    with FileSandbox(read_only=[root]) as files, files.open(path, errors="replace") as file:
        for total, line in enumerate(_lines(file), 1):
            if total < first_line or len(taken) >= max_lines or room <= 0:
                continue
            taken.append(line[:room])
            room -= len(line)
    return {
        "text": "".join(taken),
        "first_line": first_line,
        "lines": len(taken),
        "total_lines": total,
    }


@tool
def list_files(root: str, pattern: str = "*", path: str = ".", max_files: int = 500) -> Any:
    """List files, with those in directories beneath.

    Args:
        pattern: that their paths match, such as "*.md".
        path: of the directory to begin in.
        max_files: that are listed at most.
    """
    found: list[dict[str, Any]] = []
    with FileSandbox(read_only=[root]) as files:
        for name in _walked(files, path, pattern):
            if len(found) >= max_files:
                return {"files": found, "is_complete": False}
            found.append({"path": _told(name), "bytes": files.stat(name).st_size})
    return {"files": found, "is_complete": True}


@tool
def search_files(
    text: str, root: str, pattern: str = "*", is_regex: bool = False, max_matches: int = 100
) -> dict[str, Any]:
    """Search the text files for lines that hold a text, in upper or lower case.

    Args:
        text: to search for.
        pattern: that the files' paths match, such as "*.md".
        is_regex: whether the text is a regular expression.
        max_matches: that are given at most.
    """
    wanted = re.compile(text if is_regex else re.escape(text), re.IGNORECASE)
    found: list[dict[str, Any]] = []
    with FileSandbox(read_only=[root]) as files:
        for name in _walked(files, ".", pattern):
            with files.open(name, "rb") as file:
                raw = file.read(_MAX_SEARCHED)
            if b"\0" in raw[:8_192]:
                continue  # no text
            for number, line in enumerate(raw.decode(errors="replace").splitlines(), 1):
                if not wanted.search(line):
                    continue
                if len(found) >= max_matches:
                    return {"matches": found, "is_complete": False}
                found.append({"path": _told(name), "line": number, "text": line[:_MAX_LINE]})
    return {"matches": found, "is_complete": True}


@tool
def write_file(path: str, text: str, root: str, append: bool = False) -> dict[str, Any]:
    """Write a text file; directories that are missing are made.

    Args:
        path: relative, such as "notes/today.md".
        text: what it is to hold.
        append: add the text to its end, instead of replacing what it holds.
    """
    with FileSandbox([root]) as files:
        above = os.path.dirname(path)
        if above:
            files.mkdir(above, parents=True, exist_ok=True)
        with files.open(path, "a" if append else "w", newline="") as file:
            file.write(text)
        return {"path": path, "bytes": files.stat(path).st_size}


def _walked(files: FileSandbox, path: str, pattern: str) -> Iterator[str]:
    """Paths of regular files, in order; what is a link isn't followed."""
    for here, _, names in files.walk(path):
        for name in names:
            whole = os.path.normpath(os.path.join(here, name))
            if not (fnmatch.fnmatch(whole, pattern) or fnmatch.fnmatch(name, pattern)):
                continue
            if _is_regular(files, whole):
                yield whole


def _is_regular(files: FileSandbox, path: str) -> bool:
    import stat

    from llmspell.errors import SecurityError

    try:
        return stat.S_ISREG(files.stat(path).st_mode)
    except (OSError, SecurityError):  # a link, or gone
        return False


def _told(name: str) -> str:
    """A file's name as data: what is no UTF-8 in it becomes U+FFFD."""
    return os.fsencode(name).decode(errors="replace")


def _lines(file: Any) -> Iterator[str]:
    """Lines; of one that is longer than may be read, pieces."""
    while line := file.readline(_MAX_READ):
        yield line
