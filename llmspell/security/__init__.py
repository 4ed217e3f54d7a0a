"""Tools that the kernel confines; validators, and secrets."""

from llmspell.security.file_sandbox import FileSandbox, SandboxEntry
from llmspell.security.paths import PathValidator

__all__ = [
    "FileSandbox",
    "PathValidator",
    "SandboxEntry",
]
