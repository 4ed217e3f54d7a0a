"""What a path may look like; components are compared, never substrings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from llmspell.errors import ConfigError, InvalidPath, PathEscape, PathNotAllowed
from llmspell.security.denials import Denials

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

__all__ = ["PathValidator", "check_windows_name", "path_components", "path_text"]

# Controls, line and paragraph separators, and what makes a name read in another order than it is.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)

_WINDOWS_FORBIDDEN: Final = {
    "\\": "a backslash, which separates components on Windows",
    ":": "a colon, which names a drive or an alternate data stream on Windows",
    **{mark: f"{mark!r}, which no file name has on Windows" for mark in '<>"|?*'},
}
# Devices whatever extension follows; the superscripts count as digits.
_WINDOWS_DEVICE: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\.|$)", re.IGNORECASE
)


def path_text(path: str | os.PathLike[str]) -> str:
    """A path as text of which the file system can make bytes, without a NUL.

    Raises:
        InvalidPath: it isn't a path, is empty, or can't be encoded.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise InvalidPath(f"a path is a str or a PathLike of str, not {type(path).__name__}")
    if not text:
        raise InvalidPath("a path is empty; the root itself is '.'")
    if "\0" in text:
        raise InvalidPath(f"the path {text[:200]!r} holds a NUL character")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InvalidPath(f"the path {text[:200]!r} can't be encoded as a file name") from None
    return text


def path_components(text: str, root: str = "") -> tuple[str, ...]:
    """The components of a path that lead downwards; ``.`` and doubled slashes say nothing.

    Nothing is decoded or normalised: ``%2e%2e`` and ``a..b`` are names like others.

    Raises:
        PathEscape: a component is ``..``.
    """
    parts = tuple(part for part in text.split("/") if part not in {"", "."})
    if ".." in parts:
        raise PathEscape(
            f"the path {text[:200]!r} has the component '..'; name the file from its root",
            root=root,
            component="..",
        )
    return parts


class PathValidator:
    """Refuses paths early, with an error that a person can act on. Immutable; for any thread.

    It looks at the text alone, so it is no protection against links: open what it lets through by a
    :class:`FileSandbox`.

    Args:
        roots: absolute directories; an absolute path must be beneath one of them, and none is let
            through where this is empty. Relative paths are always let through.
        windows: refuse what Windows reads as something else than a name too: backslashes, drive
            letters, alternate data streams, devices, trailing dots and spaces.
        max_bytes: longest path, in bytes as the file system encodes it.
        max_name_bytes: longest component, in bytes.
        max_depth: most components.
        audit: is told of each denial, as ``file.access``, before it is raised.
        tenant: id of the tenant on whose behalf paths are asked for, for these records.

    Raises:
        ConfigError: a root isn't absolute, or a limit isn't positive.
    """

    def __init__(
        self,
        roots: Iterable[str | os.PathLike[str]] = (),
        *,
        windows: bool = os.name == "nt",
        max_bytes: int = 4095,
        max_name_bytes: int = 255,
        max_depth: int = 128,
        audit: AuditSink | None = None,
        tenant: str | None = None,
    ) -> None:
        if isinstance(roots, str | os.PathLike):
            raise ConfigError("roots is one path; give several, or a tuple of one")
        self._roots = tuple(self._root_components(root) for root in roots)
        for name, limit in (
            ("max_bytes", max_bytes),
            ("max_name_bytes", max_name_bytes),
            ("max_depth", max_depth),
        ):
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ConfigError(f"{name} is {limit!r}; it is an integer of at least 1")
        self._denials = Denials(audit, "file.access", tenant)
        self._windows = windows
        self._max_bytes = max_bytes
        self._max_name_bytes = max_name_bytes
        self._max_depth = max_depth

    @staticmethod
    def _root_components(root: str | os.PathLike[str]) -> tuple[str, ...]:
        text = path_text(root)
        if not text.startswith("/"):
            raise ConfigError(f"the root {text!r} isn't an absolute path")
        return path_components(text, text)

    def validate(self, path: str | os.PathLike[str]) -> PurePosixPath:
        """The path without ``.`` and doubled slashes; absolute where it was.

        Raises:
            InvalidPath: it is too long or too deep, or has a character that no name should have.
            PathEscape: a component is ``..``.
            PathNotAllowed: it is absolute, and beneath none of the roots.
        """
        text = path_text(path)
        try:
            return self._validated(text)
        except (PathEscape, PathNotAllowed) as denial:
            self._denials.noted(denial, text)
            raise

    def _validated(self, text: str) -> PurePosixPath:
        size = len(os.fsencode(text))
        if size > self._max_bytes:
            raise InvalidPath(f"a path of {size} bytes is longer than {self._max_bytes}")
        parts = path_components(text)
        if len(parts) > self._max_depth:
            raise InvalidPath(f"a path of {len(parts)} components is deeper than {self._max_depth}")
        for part in parts:
            self._check_name(part)
        if not text.startswith("/"):
            return PurePosixPath(*parts)
        if not any(parts[: len(root)] == root for root in self._roots):
            raise PathNotAllowed(
                f"the absolute path {text[:200]!r} is beneath no root; give it relative to one"
            )
        return PurePosixPath("/", *parts)

    def _check_name(self, name: str) -> None:
        size = len(os.fsencode(name))
        if size > self._max_name_bytes:
            raise InvalidPath(
                f"a name of {size} bytes is longer than {self._max_name_bytes}", component=name
            )
        found = _UNPRINTABLE.search(name)
        if found:
            raise InvalidPath(
                f"the name {name!r} holds the control character U+{ord(found[0]):04X}",
                component=name,
            )
        if self._windows:
            check_windows_name(name)


def check_windows_name(name: str) -> None:
    """Raise InvalidPath for a name that means something else on Windows than it says."""
    for mark, what in _WINDOWS_FORBIDDEN.items():
        if mark in name:
            raise InvalidPath(f"the name {name!r} holds {what}", component=name)
    if name[-1] in ". ":
        raise InvalidPath(
            f"the name {name!r} ends in a dot or a space, which Windows leaves out",
            component=name,
        )
    if _WINDOWS_DEVICE.match(name):
        raise InvalidPath(f"the name {name!r} is a device on Windows", component=name)
