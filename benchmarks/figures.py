"""Pictures of recall and speed, light and dark, from a result of ``recall``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

__all__ = ["draw_recall"]


@dataclass(frozen=True)
class _Theme:
    name: str
    paper: str
    ink: str
    grid: str
    ours: tuple[str, ...]
    others: tuple[str, ...]


# Okabe and Ito's palette, which colour-blind readers can tell apart, lighter on dark paper: ours
# in its warm half, the peers in its cool half.
_THEMES = (
    _Theme(
        "light",
        "#ffffff",
        "#1f2328",
        "#d8dee4",
        ("#d55e00", "#cc79a7", "#e69f00"),
        ("#0072b2", "#009e73", "#56b4e9", "#6e7781"),
    ),
    _Theme(
        "dark",
        "#0d1117",
        "#e6edf3",
        "#30363d",
        ("#ff8a4c", "#e59cc7", "#f2b93b"),
        ("#58a6ff", "#3fc99a", "#8fd0f5", "#9aa4ae"),
    ),
)
_LINES = ("-", "--", ":", "-.")
_LEAST_RECALL = 0.85
_MOST_RECALL = 0.999
_TICKS = (0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)


def draw_recall(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``recall-NAME-light.svg`` and ``-dark.svg``; the same result draws the same bytes."""
    written = []
    for theme in _THEMES:
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
            figure, axes = plt.subplots(figsize=(9.0, 5.0), layout="constrained")
            _curves(axes, result["peers"], theme)
            _label(axes, result)
            path = folder / f"recall-{result['dataset']['name']}-{theme.name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            plt.close(figure)
        written.append(path)
    return written


def _curves(axes: Axes, peers: Sequence[dict[str, Any]], theme: _Theme) -> None:
    warm = itertools.cycle(theme.ours)
    cool = itertools.cycle(itertools.product(_LINES, theme.others))
    for peer in peers:
        points = [p for p in peer["points"] if _LEAST_RECALL <= p["recall"] <= _MOST_RECALL]
        if not points:
            continue
        ours = peer["name"] == "llmspell"
        line, colour = ("-", next(warm)) if ours else next(cool)
        axes.plot(
            [_nines(p["recall"]) for p in points],
            [p["qps"] for p in points],
            color=colour,
            linestyle=line,
            marker="o" if ours else "s",
            markersize=4 if ours else 3,
            linewidth=2.4 if ours else 1.3,
            label=f"{peer['name']} {peer['variant']}",
        )


def _label(axes: Axes, result: dict[str, Any]) -> None:
    dataset, settings = result["dataset"], result["settings"]
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks([_nines(tick) for tick in _TICKS], [f"{tick:g}" for tick in _TICKS])
    axes.set_xlim(_nines(_LEAST_RECALL), _nines(_MOST_RECALL))
    axes.grid(visible=True, which="major")
    axes.set_xlabel(f"recall@{settings['k']}")
    axes.set_ylabel("queries per second")
    axes.set_title(
        f"{dataset['name']}: {dataset['vectors']:,} vectors, {dataset['dim']} dimensions\n"
        f"one thread, one query at a time from Python; m = {settings['m']}, ef_construction = "
        f"{settings['ef_construction']}; {result['host']['cpu']}",
        fontsize=9,
        loc="left",
    )
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _nines(recall: float) -> float:
    return -math.log10(max(1.0 - recall, 1e-5))
