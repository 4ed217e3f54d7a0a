"""Markdown, and how a figure is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["NONE", "best_in_bold", "figure", "label", "markdown", "size", "turned"]

NONE = "—"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def size(dataset: dict[str, Any]) -> str:
    """How many vectors of how many dimensions."""
    return f"{dataset['vectors']:,} vectors of {dataset['dim']} dimensions"


def label(peer: dict[str, Any]) -> str:
    """A row's name: library, variant, version."""
    name = f"{peer['name']} {peer['variant']}"
    return f"{name} (failed)" if peer["error"] is not None else f"{name}, {peer['version']}"


def figure(value: float | None, spec: str = ",.0f") -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None else format(value, spec)


def best_in_bold(lines: Sequence[Sequence[float | None]], spec: str = ",.0f") -> list[list[str]]:
    """Cells of which more is better, the best of each line in bold."""
    bold = []
    for line in lines:
        best = max((value for value in line if value is not None), default=None)
        bold.append(
            [
                f"**{figure(value, spec)}**"
                if value is not None and value == best
                else figure(value, spec)
                for value in line
            ]
        )
    return bold


def turned(lines: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as columns."""
    return [list(line) for line in zip(*lines, strict=True)]
