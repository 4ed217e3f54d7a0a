"""What a call of a tool gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ToolResult"]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave.

    Args:
        value: what the function returned: None, bool, int, float, str, bytes, datetime, list or
            dict of these.
        stdout: what it printed, as far as the limit goes.
        stderr: likewise.
        is_cut: whether it printed more than that.
    """

    value: Any
    stdout: bytes = b""
    stderr: bytes = b""
    is_cut: bool = False
