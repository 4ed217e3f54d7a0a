"""What a command prints: JSON or rich text on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmspell import errors
from llmspell.cli.exits import ExitCode, exit_code_for

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["DEBUG_VARIABLE", "Output", "WarningLines", "describe_error", "print_error"]

DEBUG_VARIABLE = "LLMSPELL_DEBUG"


class WarningLines(logging.Handler):
    """Shows what llmspell logs as lines on stderr, in JSON mode as objects with ``warning``."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(logging.WARNING)
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        message = record.getMessage()
        line = json.dumps({"warning": message}) if self._as_json else _line(message)
        sys.stderr.write(line + "\n")


class Output:
    """Where one command writes.

    In JSON mode stdout carries exactly one JSON document, written by :meth:`result`, and
    :meth:`show` prints nothing. Not thread-safe.

    Args:
        as_json: print the result as JSON and nothing else.
        console: console for stdout; made when first used, so that JSON never imports rich.
    """

    def __init__(self, *, as_json: bool, console: Console | None = None) -> None:
        self.as_json = as_json
        self._console = console
        self._progress: Console | None = None

    @property
    def console(self) -> Console:
        """Console on stdout: no colour where stdout isn't a terminal or NO_COLOR is set."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False)
        return self._console

    @property
    def progress_console(self) -> Console:
        """Console on stderr, for progress bars; silent where stderr isn't a terminal."""
        if self._progress is None:
            from rich.console import Console

            self._progress = Console(stderr=True, highlight=False)
            self._progress.quiet = not self._progress.is_terminal
        return self._progress

    def show(self, *renderables: RenderableType) -> None:
        """Print for people; nothing in JSON mode."""
        if not self.as_json:
            self.console.print(*renderables, sep="\n")

    def result(self, payload: Mapping[str, Any]) -> None:
        """Print ``payload`` in JSON mode; nothing otherwise."""
        if self.as_json:
            text = json.dumps(payload, indent=2, ensure_ascii=False, default=datetime.isoformat)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


def describe_error(error: BaseException) -> dict[str, Any]:
    """The ``error`` object of JSON mode: type, message, exit code, and what the error carries."""
    described: dict[str, Any] = {
        "type": type(error).__name__,
        "message": _message(error),
        "exit_code": int(exit_code_for(error)),
    }
    if isinstance(error, errors.QuotaExceeded):
        described |= {
            "quota": error.quota,
            "limit": error.limit,
            "used": error.used,
            "requested": error.requested,
            "retry_after": error.retry_after,
        }
    return described


def _message(error: BaseException) -> str:
    if isinstance(error, errors.LlmspellError | OSError):
        return str(error) or type(error).__name__
    return (
        f"internal error, {type(error).__name__}: {error} "
        f"({DEBUG_VARIABLE}=1 shows where it comes from)"
    )


def print_error(error: BaseException, *, as_json: bool) -> ExitCode:
    """Write one line (or a JSON object) on stderr and return the exit code."""
    described = describe_error(error)
    if as_json:
        sys.stderr.write(json.dumps({"error": described}) + "\n")
    else:
        sys.stderr.write(_line(str(described["message"])) + "\n")
    return ExitCode(described["exit_code"])


def _line(message: str) -> str:
    """A message on one line; what isn't text is escaped: names of files may move the cursor."""
    text = " ".join(message.split())
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return f"llmspell: {escaped}"
