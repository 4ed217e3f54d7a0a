"""Where the parsers of untrusted files run, and what they may take."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from llmspell.errors import (
    IngestError,
    MissingDependency,
    ToolFailed,
    ToolLimitExceeded,
    ToolTimeout,
)
from llmspell.rag.media_types import DOCX, MARKDOWN, PDF, PLAIN

if TYPE_CHECKING:
    from llmspell.security import ConfinedTool, Sandbox, UnconfinedTool

__all__ = ["Parsed", "Parsers"]

#: What a call of a sandboxed tool can be given, less what is around it.
MAX_BYTES: Final = (16 << 20) - 4_096
MAX_PAGES: Final = 10_000
MAX_CHARS: Final = 8 << 20
MAX_UNPACKED: Final = 64 << 20
CPU_MS: Final = 60_000
SECONDS: Final = 120.0
MAX_SAID: Final = 300


class Parsed(NamedTuple):
    """What was in a file: a text, what it is marked up in, and a title, which may be empty."""

    text: str
    media_type: str
    title: str


class _Kind(NamedTuple):
    """How files of a type are read."""

    name: str
    module: str
    function: str
    library: str
    package: str
    preload: tuple[str, ...]
    limits: tuple[int, int]
    media_type: str


_KINDS: Final = {
    PDF: _Kind(
        name="PDF",
        module="pdf_reader",
        function="read_pdf",
        library="pypdfium2",
        package="pypdfium2",
        preload=("encodings.utf_16_le",),
        limits=(MAX_PAGES, MAX_CHARS),
        media_type=PLAIN,
    ),
    DOCX: _Kind(
        name="DOCX",
        module="docx_reader",
        function="read_docx",
        library="docx",
        package="python-docx",
        preload=("encodings.cp437",),
        limits=(MAX_UNPACKED, MAX_CHARS),
        media_type=MARKDOWN,
    ),
}


class Parsers:
    """Reads PDF and DOCX files, each in a process of its own that can do nothing but compute.

    A worker of the level SAFE has no files, no network, 50 MiB of memory and a minute of processor
    time. It is made when the first such file comes. Thread-safe.

    Args:
        allow_unsandboxed: read them in this process where the host can't confine one.
    """

    def __init__(self, *, allow_unsandboxed: bool = False) -> None:
        self._allows_unsandboxed = allow_unsandboxed
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._tools: dict[str, ConfinedTool | UnconfinedTool] = {}

    def parse(self, data: bytes, media_type: str) -> Parsed:
        """Read a file.

        Args:
            data: all of it.
            media_type: of PDF or DOCX.

        Raises:
            IngestError: it is damaged, or takes more than it may.
            MissingDependency: the extra ``documents`` isn't installed.
            SandboxUnavailable: this host can't confine the parser.
        """
        kind = _KINDS[media_type]
        if len(data) > MAX_BYTES:
            raise IngestError(f"larger than {MAX_BYTES:,} bytes, the most of a {kind.name} file")
        try:
            found = self._tool(kind).call(kind.function, [data, *kind.limits]).value
        except (ToolTimeout, ToolLimitExceeded) as error:
            raise IngestError(
                f"the {kind.name} file takes too much to read: {_said(error)}"
            ) from error
        except ToolFailed as error:
            raise IngestError(f"the {kind.name} file can't be read: {_said(error)}") from error
        text, title = found.get("text"), found.get("title")
        if not isinstance(text, str) or not isinstance(title, str):
            raise IngestError(f"the {kind.name} file can't be read: its parser gave no text")
        return Parsed(text, kind.media_type, title.strip())

    def close(self) -> None:
        """End the processes; the next file starts them again."""
        with self._lock:
            sandbox, self._sandbox = self._sandbox, None
            self._tools.clear()
        if sandbox is not None:
            sandbox.close()

    def _tool(self, kind: _Kind) -> ConfinedTool | UnconfinedTool:
        with self._lock:
            tool = self._tools.get(kind.module)
            if tool is None:
                tool = self._tools[kind.module] = self._load(kind)
            return tool

    def _load(self, kind: _Kind) -> ConfinedTool | UnconfinedTool:
        from llmspell.security import Sandbox, SecurityRequirements

        if importlib.util.find_spec(kind.library) is None:
            raise MissingDependency("documents", kind.package)
        if self._sandbox is None:
            self._sandbox = Sandbox(allow_unsandboxed=self._allows_unsandboxed)
        needs = SecurityRequirements.safe().with_cpu_limit(CPU_MS).with_timeout(SECONDS)
        return self._sandbox.load(
            f"llmspell_{kind.module}",
            [kind.function],
            needs.with_output_limit(4 * MAX_CHARS + 4_096),
            source=Path(__file__).with_name(f"{kind.module}.py").read_text(encoding="utf-8"),
            preload=kind.preload,
            ready=1,
        )


def _said(error: ToolFailed) -> str:
    """What a worker said, which isn't to be trusted, in short."""
    said = str(error)
    return said if len(said) <= MAX_SAID else said[:MAX_SAID] + "…"
