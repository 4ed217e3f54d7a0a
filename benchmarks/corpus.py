"""Real text that is found on any machine: the standard library's own, and WordNet's glosses."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

__all__ = ["library_files", "standard_library", "wordnet", "wordnet_folder"]

# What embedding costs grows with length; this many characters are about 150 tokens.
MAX_CHARS = 600
MIN_CHARS = 40
# Parts that some distributions leave out, or that hold other people's packages.
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def standard_library() -> Iterator[str]:
    """Documentation strings and function sources of Python's library, in a fixed order.

    Each passage is ``"module.name: text"``, cut at 600 characters.
    """
    root = Path(sysconfig.get_path("stdlib"))
    for file in library_files():
        module = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        try:
            source = file.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):
            continue
        for name, text in _passages(tree, source, module):
            if len(text) >= MIN_CHARS:
                yield f"{name}: {text}"[:MAX_CHARS]


def library_files() -> Iterator[Path]:
    """Python's own source files, without its tests, in a fixed order."""
    root = Path(sysconfig.get_path("stdlib"))
    for file in sorted(root.rglob("*.py")):
        if _LEFT_OUT.isdisjoint(file.relative_to(root).parts):
            yield file


def wordnet(folder: Path) -> Iterator[str]:
    """Every sense of WordNet as ``"words: gloss"``, in the order of its files."""
    for part in ("noun", "verb", "adj", "adv"):
        with (folder / f"data.{part}").open(encoding="latin-1") as lines:
            for line in lines:
                if line.startswith(" "):  # the licence at the head
                    continue
                fields, _, gloss = line.partition("|")
                cells = fields.split()
                count = int(cells[3], 16)
                words = (cells[4 + 2 * i].partition("(")[0] for i in range(count))
                yield f"{', '.join(words).replace('_', ' ')}: {gloss.strip()}"[:MAX_CHARS]


def wordnet_folder() -> Path | None:
    """Where Debian's ``wordnet-base`` keeps its files; None where it isn't installed."""
    folder = Path("/usr/share/wordnet")
    return folder if (folder / "data.noun").exists() else None


def _passages(tree: ast.Module, source: str, module: str) -> Iterator[tuple[str, str]]:
    lines = source.splitlines()

    def visit(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, _DOCUMENTED):
            text = ast.get_docstring(node)
            if text:
                yield name, text
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from visit(child, f"{name}.{child.name}")

    yield from visit(tree, module)
