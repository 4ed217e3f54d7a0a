"""Parses and compiles modules of a tool, within a process that is confined."""

from __future__ import annotations

import ast
import marshal
from collections.abc import Iterator

from llmspell.security.sandbox.worker.frames import (
    ERROR,
    RESULT,
    FrameError,
    pack_frame,
    read_frame,
    write_all,
)

__all__ = ["parse_sources"]


def parse_sources(talk: int, most: int, most_parsed: int) -> None:
    """Answer name, origin, whether it is a package, and source by the imports and the code."""
    while (message := read_frame(talk, most + 4096)) is not None:
        name, origin, is_package, source = message[1]
        try:
            tree = ast.parse(source, origin)
            package = name if is_package else name.rpartition(".")[0]
            names = list(dict.fromkeys(_imports(tree, package)))
            code = marshal.dumps(compile(tree, origin, "exec", dont_inherit=True))
            reply = pack_frame(RESULT, [names, code], most_parsed)
        except (SyntaxError, ValueError, RecursionError, MemoryError, FrameError) as error:
            reply = pack_frame(ERROR, f"{type(error).__name__}: {error}", most_parsed)
        write_all(talk, reply)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Names of modules that may be imported, those of functions too; some are no modules."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if node.level else []
            above = above[: len(above) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module:
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.If) and _is_typing(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _is_typing(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
