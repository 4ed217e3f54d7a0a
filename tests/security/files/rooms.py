"""A directory to stay in, and a secret beside it that nobody should reach."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from llmspell.errors import ConfigError
from llmspell.security import FileSandbox

SECRET = "the secret outside 5f1c"


@dataclass(frozen=True)
class Room:
    root: Path
    outside: Path
    secret: Path


def make_room(folder: Path) -> Room:
    """A root with a few files and links, beside a directory with a secret."""
    root, outside = folder / "room", folder / "room-evil"
    outside.mkdir()
    secret = outside / "secret.txt"
    secret.write_text(SECRET)
    (root / "notes" / "deep").mkdir(parents=True)
    (root / "hello.txt").write_text("hello")
    (root / "notes" / "a..b").write_text("two dots")
    (root / "notes" / "deep" / "%2e%2e").write_text("percent")
    (root / "to_secret").symlink_to(secret)
    (root / "to_outside").symlink_to(outside)
    (root / "dangling").symlink_to(outside / "new")
    (root / "up").symlink_to("..")
    (root / "to_hello").symlink_to("hello.txt")
    (root / "notes" / "magic").symlink_to("/proc/self/root")
    os.mkfifo(root / "fifo")
    return Room(root, outside, secret)


def has_openat2() -> bool:
    try:
        FileSandbox(["/"], resolver="openat2").close()
    except ConfigError:
        return False
    return True
