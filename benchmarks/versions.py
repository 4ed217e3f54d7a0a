"""Versions of installed packages, without importing any."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

__all__ = ["versions_of"]


def versions_of(distributions: Iterable[str]) -> dict[str, str | None]:
    """Installed version of each distribution, None where it isn't installed."""
    found: dict[str, str | None] = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
