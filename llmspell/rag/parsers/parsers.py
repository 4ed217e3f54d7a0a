"""Where the parsers of untrusted files run, what they may take, and what they may give."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmspell.errors import (
    IngestError,
    MissingDependency,
    SandboxUnavailable,
    ToolFailed,
    ToolLimitExceeded,
    ToolTimeout,
)
from llmspell.rag.media_types import DOCX, HTML, MARKDOWN, PDF, PLAIN
from llmspell.rag.parsers.html_reader import read_html

if TYPE_CHECKING:
    from llmspell.security import ConfinedTool, Sandbox, UnconfinedTool

__all__ = ["Parsed", "Parsers"]

#: What a call of a sandboxed tool can be given, less what is around it.
MAX_BYTES: Final = (16 << 20) - 4_096
MAX_PAGES: Final = 10_000
MAX_CHARS: Final = 8 << 20
#: It is kept with every chunk. Longer ones are cut.
MAX_TITLE: Final = 1_000
MAX_UNPACKED: Final = 64 << 20
CPU_MS: Final = 60_000
SECONDS: Final = 120.0
MAX_SAID: Final = 300

_HERE: Final = Path(__file__).parent


class Parsed(NamedTuple):
    """What was in a file: a text, what it is marked up in, and a title, which may be empty."""

    text: str
    media_type: str
    title: str


class _Kind(NamedTuple):
    """How files of a type are read; ``library`` and ``package`` are empty where Python does it."""

    name: str
    source: Path
    function: str
    library: str
    package: str
    preload: tuple[str, ...]
    limits: tuple[int, ...]
    media_type: str


_KINDS: Final = {
    HTML: _Kind(
        name="HTML",
        source=_HERE / "html_reader.py",
        function="read_html",
        library="",
        package="",
        preload=(),
        limits=(MAX_CHARS, MAX_TITLE),
        media_type=MARKDOWN,
    ),
    PDF: _Kind(
        name="PDF",
        source=_HERE / "pdf_reader.py",
        function="read_pdf",
        library="pypdfium2",
        package="pypdfium2",
        preload=("encodings.utf_16_le",),
        limits=(MAX_PAGES, MAX_CHARS, MAX_TITLE),
        media_type=PLAIN,
    ),
    DOCX: _Kind(
        name="DOCX",
        source=_HERE / "docx_reader.py",
        function="read_docx",
        library="docx",
        package="python-docx",
        preload=("encodings.cp437",),
        limits=(MAX_UNPACKED, MAX_CHARS, MAX_TITLE),
        media_type=MARKDOWN,
    ),
}


class Parsers:
    """Reads PDF, DOCX and HTML, each file in a process of its own that can do nothing but compute.

    A worker of the level SAFE has no files, no network, 50 MiB of memory and a minute of processor
    time. It is made when the first such file comes. Where the host can't confine one, HTML is read
    in this process: its reader is Python, and takes time by the length of a page. Thread-safe.

    Args:
        allow_unsandboxed: read PDF and DOCX in this process too where the host can't confine one.
    """

    def __init__(self, *, allow_unsandboxed: bool = False) -> None:
        self._allows_unsandboxed = allow_unsandboxed
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._tools: dict[Path, ConfinedTool | UnconfinedTool] = {}

    def parse(self, data: bytes, media_type: str) -> Parsed:
        """Read a file.

        Args:
            data: all of it; HTML in UTF-8.
            media_type: of PDF, DOCX or HTML.

        Raises:
            IngestError: it is damaged, or takes more than it may, or its parser gave no text.
            MissingDependency: the extra ``documents`` isn't installed.
            SandboxUnavailable: this host can't confine the parser.
        """
        kind = _KINDS[media_type]
        if len(data) > MAX_BYTES:
            raise IngestError(f"larger than {MAX_BYTES:,} bytes, the most of {kind.name}")
        try:
            found = self._tool(kind).call(kind.function, [data, *kind.limits]).value
        except SandboxUnavailable as error:
            if media_type != HTML:
                raise _not_here(kind, error) from error
            found = _read_here(data, kind)
        except (ToolTimeout, ToolLimitExceeded) as error:
            raise IngestError(
                f"the {kind.name} file takes too much to read: {_said(error)}"
            ) from error
        except ToolFailed as error:
            raise IngestError(f"the {kind.name} file can't be read: {_said(error)}") from error
        text, title = _checked(found, kind)
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
            tool = self._tools.get(kind.source)
            if tool is None:
                tool = self._tools[kind.source] = self._load(kind)
            return tool

    def _load(self, kind: _Kind) -> ConfinedTool | UnconfinedTool:
        from llmspell.security import Sandbox, SecurityRequirements

        if kind.library and importlib.util.find_spec(kind.library) is None:
            raise MissingDependency("documents", kind.package)
        if self._sandbox is None:
            self._sandbox = Sandbox(allow_unsandboxed=self._allows_unsandboxed)
        needs = SecurityRequirements.safe().with_cpu_limit(CPU_MS).with_timeout(SECONDS)
        return self._sandbox.load(
            f"llmspell_{kind.source.stem}",
            [kind.function],
            needs.with_output_limit(4 * MAX_CHARS + 4_096),
            source=kind.source.read_text(encoding="utf-8"),
            preload=kind.preload,
            ready=1,
        )


def _read_here(data: bytes, kind: _Kind) -> Any:
    """Read HTML in this process."""
    try:
        return read_html(data, *kind.limits)
    except ValueError as error:
        raise IngestError(f"the HTML file can't be read: {error}") from error


def _checked(found: Any, kind: _Kind) -> tuple[str, str]:
    """Text and title of what a worker gave, which may be anything that is data."""
    wrong = ""
    if not isinstance(found, dict) or found.keys() != {"text", "title"}:
        wrong = "something else than a text and a title"
    elif not (isinstance(found["text"], str) and isinstance(found["title"], str)):
        wrong = "a text or a title that isn't one"
    elif len(found["text"]) > MAX_CHARS or len(found["title"]) > MAX_TITLE:
        wrong = (
            f"a text of more than {MAX_CHARS:,} characters, or a title of more than {MAX_TITLE:,}"
        )
    if wrong:
        raise IngestError(f"the {kind.name} file can't be read: its parser gave {wrong}")
    return found["text"], found["title"]


def _not_here(kind: _Kind, error: SandboxUnavailable) -> SandboxUnavailable:
    """What a caller of an ingest can do about it."""
    lacks = "; ".join(error.missing) or str(error)
    return SandboxUnavailable(
        f"the {kind.name} file can't be read: this host can't confine its parser: {lacks}. "
        "Pipeline(allow_unsandboxed=True) reads such files in your own process.",
        level=error.level,
        missing=error.missing,
    )


def _said(error: ToolFailed) -> str:
    """What a worker said, which isn't to be trusted, in short."""
    said = str(error)
    return said if len(said) <= MAX_SAID else said[:MAX_SAID] + "…"
