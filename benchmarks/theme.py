"""How pictures look, light and dark, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

__all__ = ["THEMES", "Theme", "of_dataset", "save"]


@dataclass(frozen=True)
class Theme:
    """Colours of a picture: of the paper, and of what is drawn, ours and others'."""

    name: str
    paper: str
    ink: str
    grid: str
    ours: tuple[str, ...]
    others: tuple[str, ...]


# Okabe and Ito's palette, which colour-blind readers can tell apart, lighter on dark paper: ours
# in its warm half, the peers in its cool half.
THEMES = (
    Theme(
        "light",
        "#ffffff",
        "#1f2328",
        "#d8dee4",
        ("#d55e00", "#cc79a7", "#e69f00"),
        ("#0072b2", "#009e73", "#56b4e9", "#6e7781"),
    ),
    Theme(
        "dark",
        "#0d1117",
        "#e6edf3",
        "#30363d",
        ("#ff8a4c", "#e59cc7", "#f2b93b"),
        ("#58a6ff", "#3fc99a", "#8fd0f5", "#9aa4ae"),
    ),
)


def of_dataset(result: dict[str, Any]) -> str:
    """Name of a picture of what was measured on one dataset."""
    return f"{result['benchmark']}-{result['dataset']['name']}"


def save(
    name: str,
    folder: Path,
    draw: Callable[[Axes, Theme], None],
    size: tuple[float, float] = (9.0, 5.0),
) -> list[Path]:
    """``NAME-light.svg`` and ``-dark.svg``; the same result draws the same bytes."""
    written = []
    for theme in THEMES:
        style: dict[Any, Any] = {
            "svg.hashsalt": "llmspell",
            "figure.facecolor": theme.paper,
            "axes.facecolor": theme.paper,
            "axes.edgecolor": theme.grid,
            "axes.labelcolor": theme.ink,
            "text.color": theme.ink,
            "xtick.color": theme.ink,
            "ytick.color": theme.ink,
            "grid.color": theme.grid,
            "font.size": 10,
        }
        with plt.rc_context(style):
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            draw(axes, theme)
            path = folder / f"{name}-{theme.name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            plt.close(figure)
        written.append(path)
    return written
