"""The demo's documents: docstrings of Python's standard library, and llmspell's own docs.

Sources are read with ``ast``, so nothing of them is imported or run. Functions that exist only in
compiled modules have no source; their docstrings are read from the few modules in COMPILED.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import Any

import llmspell
from llmspell import Document

__all__ = ["COMPILED", "MODULES", "own_documents", "python_documents"]

# What people ask about, rather than all of it: no tkinter, no turtle, no debugger internals,
# nothing deprecated. Names that a version of Python doesn't have are passed over.
_MODULES = """
    abc argparse ast asyncio base64 bisect bz2 calendar codecs collections concurrent.futures
    configparser contextlib copy csv dataclasses datetime decimal difflib email enum filecmp
    fileinput fnmatch fractions ftplib functools getpass gettext glob graphlib gzip hashlib heapq
    hmac html http inspect io ipaddress json locale logging lzma mimetypes
    multiprocessing operator os os.path pathlib pickle pkgutil platform plistlib pprint queue
    random re sched secrets selectors shelve shlex shutil signal smtplib socket socketserver
    sqlite3 ssl statistics string subprocess sysconfig tarfile tempfile textwrap threading timeit
    tomllib traceback tracemalloc types typing unittest urllib uuid venv warnings wave weakref
    webbrowser xml zipfile zoneinfo
"""
_COMPILED = "builtins collections itertools math os socket sqlite3 struct time zlib"
MODULES = tuple(_MODULES.split())
COMPILED = tuple(_COMPILED.split())

# Public modules whose Python source lies under another name.
_SOURCE_OF = {"os.path": ("posixpath", "genericpath"), "datetime": ("_pydatetime", "datetime")}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One docstring: of a module, a class, a function or a method."""

    name: str
    heading: str
    doc: str
    kind: str

    def document(self, module: str) -> Document:
        return Document(
            id=self.name,
            text=f"{self.heading}\n\n{self.doc}",
            metadata={"module": module, "kind": self.kind},
        )


def python_documents(limit: int) -> list[Document]:
    """Docstrings of :data:`MODULES` and :data:`COMPILED`, at most ``limit``.

    The selection depends on the version of Python and on ``limit`` alone. Modules take turns, so
    that a small ``limit`` still has the head of every module: its own docstring, then its classes
    and functions in the order of the source.

    Returns:
        Documents with the qualified name as id, such as ``"threading.Thread.join"``, and the
        metadata ``module`` and ``kind`` ("module", "class", "function" or "method").
    """
    streams = [(name, _source_entries(name)) for name in MODULES]
    streams += [(name, _compiled_entries(name)) for name in COMPILED]
    return list(islice(_take_turns(streams), limit))


def own_documents(limit: int) -> list[Document]:
    """Llmspell's README and the docstrings of its library, at most ``limit``, README first.

    The README is read from the metadata of the installed distribution, where every wheel
    carries it; the docstrings come from the package's sources.
    """
    return list(islice(chain(_readme(), _own_docstrings()), limit))


def _readme() -> Iterator[Document]:
    readme = metadata.metadata("llmspell").json.get("description")
    if isinstance(readme, str) and readme.strip():
        yield Document(id="README.md", text=readme, media_type="text/markdown")


def _own_docstrings() -> Iterator[Document]:
    root = Path(llmspell.__file__).parent
    seen: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        # How the demo draws its own output isn't what anyone asks about.
        if path.is_relative_to(root / "cli"):
            continue
        for entry in _entries_of(path, module := _module_name("llmspell", root, path)):
            if entry.name not in seen:
                seen.add(entry.name)
                yield entry.document(module)


def _take_turns(streams: list[tuple[str, Iterator[_Entry]]]) -> Iterator[Document]:
    seen: set[str] = set()
    while streams:
        going = []
        for module, entries in streams:
            entry = next(entries, None)
            if entry is None:
                continue
            going.append((module, entries))
            if entry.name not in seen:
                seen.add(entry.name)
                yield entry.document(module)
        streams = going


def _source_entries(module: str) -> Iterator[_Entry]:
    stdlib = Path(sysconfig.get_path("stdlib"))
    for source in _SOURCE_OF.get(module, (module,)):
        path = stdlib.joinpath(*source.split("."))
        if path.with_suffix(".py").is_file():
            yield from _entries_of(path.with_suffix(".py"), module)
        elif path.is_dir():
            for child in sorted(path.rglob("*.py")):
                if not {"test", "tests"} & set(child.parts):
                    yield from _entries_of(child, _module_name(module, path, child))


def _module_name(package: str, root: Path, path: Path) -> str:
    """Public name of a file of a package: private files count as their package."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join([package, *(part for part in parts if not part.startswith("_"))])


def _entries_of(path: Path, module: str) -> Iterator[_Entry]:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    doc = ast.get_docstring(tree)
    if doc:
        yield _Entry(module, module, doc, "module")
    yield from _members(tree, module, "function")


def _members(owner: ast.Module | ast.ClassDef, prefix: str, kind: str) -> Iterator[_Entry]:
    for node in owner.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        name = f"{prefix}.{node.name}"
        doc = ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            if doc:
                yield _Entry(name, f"class {name}", doc, "class")
            yield from _members(node, name, "method")
        elif doc:
            yield _Entry(name, f"{name}({_arguments(node)})", doc, kind)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    text = ast.unparse(node.args)
    for own in ("self", "cls"):
        if text == own or text.startswith(f"{own}, "):
            return text[len(own) :].removeprefix(", ")
    return text


def _compiled_entries(module: str) -> Iterator[_Entry]:
    prefix = "" if module == "builtins" else f"{module}."
    for name, value in sorted(vars(importlib.import_module(module)).items()):
        if name.startswith("_") or (inspect.isclass(value) and issubclass(value, BaseException)):
            continue
        if inspect.isclass(value):
            yield from _compiled_entry(f"{prefix}{name}", value, "class")
            for member, attribute in sorted(vars(value).items()):
                if not member.startswith("_") and inspect.isroutine(attribute):
                    yield from _compiled_entry(f"{prefix}{name}.{member}", attribute, "method")
        elif inspect.isbuiltin(value):
            yield from _compiled_entry(f"{prefix}{name}", value, "function")


def _compiled_entry(name: str, value: Any, kind: str) -> Iterator[_Entry]:
    doc = inspect.getdoc(value)
    if doc:
        yield _Entry(name, name, doc, kind)
