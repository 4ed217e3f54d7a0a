"""Where the data directory is when nobody says, and the server that its quotas are shared by."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell.cli.exits import NothingHere

if TYPE_CHECKING:
    from llmspell.security import AuditLog, Secret

__all__ = [
    "AUDIT_KEY_VARIABLE",
    "AUDIT_VARIABLE",
    "DATA_VARIABLE",
    "SHARED_QUOTAS_VARIABLE",
    "audit_key",
    "audit_log",
    "default_data_directory",
    "existing",
    "shared_quotas",
    "shown",
]

DATA_VARIABLE = "LLMSPELL_DATA"
SHARED_QUOTAS_VARIABLE = "LLMSPELL_SHARED_QUOTAS"
AUDIT_VARIABLE = "LLMSPELL_AUDIT"
AUDIT_KEY_VARIABLE = "LLMSPELL_AUDIT_KEY_FILE"


def default_data_directory() -> Path:
    r"""The per-user data directory of the platform.

    ``$XDG_DATA_HOME/llmspell`` or ``~/.local/share/llmspell`` (XDG base directory
    specification), ``~/Library/Application Support/llmspell`` on macOS,
    ``%LOCALAPPDATA%\llmspell`` on Windows.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        configured = os.environ.get("XDG_DATA_HOME", "")
        # The specification tells readers to ignore a relative path.
        base = Path(configured) if os.path.isabs(configured) else Path.home() / ".local" / "share"
    return base / "llmspell"


def existing(path: Path) -> Path:
    """``path``, where a command that only reads must not make a database.

    Raises:
        NothingHere: it isn't a data directory.
    """
    from llmspell.storage import Catalog

    if not Catalog.is_at(path):
        raise NothingHere(
            f"no data at {path}; run `llmspell demo` or `llmspell tenant create ID`, "
            f"or point --data (or {DATA_VARIABLE}) at a data directory"
        )
    return path


def shared_quotas() -> str | None:
    """URL of the server that hosts share quotas by, as :class:`llmspell.Database` takes it."""
    return os.environ.get(SHARED_QUOTAS_VARIABLE) or None


def audit_log() -> AuditLog | None:
    """The audit log that steps are recorded in, if there is one; it is closed at exit."""
    path = os.environ.get(AUDIT_VARIABLE)
    if not path:
        return None
    from llmspell.security import AuditLog

    return AuditLog.open(path, key=audit_key(os.environ.get(AUDIT_KEY_VARIABLE)))


def audit_key(file: str | Path | None) -> Secret[bytes] | None:
    """The key in a file, without white space around it; None where no file is named."""
    if not file:
        return None
    from llmspell.security import Secret

    return Secret(Path(file).read_bytes().strip())


def shown(path: Path) -> str:
    """``path`` for people, with the home directory as ``~``."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
