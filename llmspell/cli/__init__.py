"""The ``llmspell`` command."""

from __future__ import annotations

from llmspell.cli.entry import main

__all__ = ["main"]
