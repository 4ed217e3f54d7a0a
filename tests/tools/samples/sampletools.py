"""Tools that workers import."""

from __future__ import annotations

import os
import pathlib
import time

from llmspell.security import SecurityLevel, SecurityRequirements
from llmspell.tools import tool


@tool(idempotent=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: the first.
        b: the second.
    """
    return a + b


@tool
async def later(text: str) -> str:
    """Give a text back."""
    return text


@tool
def recode(text: str, encoding: str) -> str:
    """Encode a text, and decode it."""
    return text.encode(encoding).decode(encoding)


@tool
def peek(path: str) -> str:
    """Read a file that it may not."""
    return pathlib.Path(path).read_text()


@tool(requirements=SecurityRequirements.safe().with_cpu_limit(200).with_timeout(60))
def spin() -> None:
    """Never end."""
    while True:
        pass


@tool(requirements=SecurityRequirements.safe().with_timeout(0.3))
def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


@tool
def take(size: int) -> int:
    """Take memory."""
    return len(bytearray(size))


@tool
def raises(message: str) -> None:
    """Fail."""
    raise LookupError(message)


@tool
def returns_object() -> object:
    """Give what is no data."""
    return object()


@tool(level=SecurityLevel.RESTRICTED)
def who() -> int:
    """Tell the process."""
    return os.getpid()


@tool(level="restricted")
def hold(path: str, seconds: float) -> None:
    """Say that it runs, by a file, and wait."""
    pathlib.Path(path).touch()
    time.sleep(seconds)


def plain(text: str) -> str:
    """Give a text back, as a function that isn't decorated."""
    return text
