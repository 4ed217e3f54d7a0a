"""Pictures, light and dark, of results that have a dataset: recall, filters, streams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.theme import Theme, of_dataset, save

__all__ = ["DRAWN", "draw_filter", "draw_recall", "draw_stream"]


_LINES = ("-", "--", ":", "-.")
_LEAST_RECALL = 0.85
_MOST_RECALL = 0.999
_TICKS = (0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)


def draw_recall(result: dict[str, Any], folder: Path) -> list[Path]:
    """Recall and speed of single queries."""

    def draw(axes: Axes, theme: Theme) -> None:
        _curves(axes, result["peers"], theme)
        _label_recall(axes, result)

    return save(of_dataset(result), folder, draw)


def draw_filter(result: dict[str, Any], folder: Path) -> list[Path]:
    """Speed at recall 0.99 against the share allowed, in random sets."""

    def draw(axes: Axes, theme: Theme) -> None:
        styles = _Styles(theme)
        for peer in result["peers"]:
            points = []
            for case, curve in peer["cases"].items():
                reading = curve["at_recall"]["0.99"]
                if case.startswith("random ") and reading is not None:
                    points.append((float(case.split()[1]), reading["qps"]))
            if points:
                axes.plot(*zip(*sorted(points), strict=True), **styles.of(peer))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        axes.set_xlabel("allowed, drawn at random")
        _speed_axis(axes)
        _finish(axes, result, "at recall 0.99, one thread, one query at a time from Python")

    return save(of_dataset(result), folder, draw)


def draw_stream(result: dict[str, Any], folder: Path) -> list[Path]:
    """Recall after each turn, at one setting, of the runs on one thread; 0 is the fresh build."""

    def draw(axes: Axes, theme: Theme) -> None:
        styles = _Styles(theme)
        for run in result["runs"]:
            if run["threads"] != 1 or run["error"] or run["fresh"]["error"]:
                continue
            states = [run["fresh"], *run["turns"]]
            middle = len(states[0]["points"]) // 2
            axes.plot(
                range(len(states)),
                [state["points"][middle]["recall"] for state in states],
                **styles.of(run, f" at {states[0]['points'][middle]['ef_search']}"),
            )
        axes.set_xlabel("times that all was replaced (0: a fresh build of the last content)")
        axes.set_ylabel(f"recall@{result['settings']['k']}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _finish(axes, result, "recall after each turn, builds and inserts on one thread")

    return save(of_dataset(result), folder, draw)


DRAWN: dict[str, Callable[[dict[str, Any], Path], list[Path]]] = {
    "recall": draw_recall,
    "filter": draw_filter,
    "stream": draw_stream,
}


class _Styles:
    """A line's look: ours warm and thick, the others cool; dashed where colours run out."""

    def __init__(self, theme: Theme) -> None:
        self._warm = itertools.cycle(itertools.product(_LINES, theme.ours))
        self._cool = itertools.cycle(itertools.product(_LINES, theme.others))

    def of(self, peer: dict[str, Any], suffix: str = "") -> dict[str, Any]:
        ours = peer["name"] == "llmspell"
        line, colour = next(self._warm if ours else self._cool)
        return {
            "color": colour,
            "linestyle": line,
            "marker": "o" if ours else "s",
            "markersize": 4 if ours else 3,
            "linewidth": 2.4 if ours else 1.3,
            "label": f"{peer['name']} {peer['variant']}{suffix}",
        }


def _curves(axes: Axes, peers: Sequence[dict[str, Any]], theme: Theme) -> None:
    styles = _Styles(theme)
    for peer in peers:
        points = [p for p in peer["points"] if _LEAST_RECALL <= p["recall"] <= _MOST_RECALL]
        if points:
            axes.plot(
                [_nines(p["recall"]) for p in points],
                [p["qps"] for p in points],
                **styles.of(peer),
            )


def _label_recall(axes: Axes, result: dict[str, Any]) -> None:
    _speed_axis(axes)
    axes.set_xticks([_nines(tick) for tick in _TICKS], [f"{tick:g}" for tick in _TICKS])
    axes.set_xlim(_nines(_LEAST_RECALL), _nines(_MOST_RECALL))
    axes.set_xlabel(f"recall@{result['settings']['k']}")
    _finish(axes, result, "one thread, one query at a time from Python")


def _speed_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("queries per second")


def _finish(axes: Axes, result: dict[str, Any], how: str) -> None:
    dataset, settings = result["dataset"], result["settings"]
    axes.grid(visible=True, which="major")
    axes.set_title(
        f"{dataset['name']}: {dataset['vectors']:,} vectors, {dataset['dim']} dimensions\n{how}; "
        f"m = {settings['m']}, ef_construction = {settings['ef_construction']}; "
        f"{result['host']['cpu']}",
        fontsize=9,
        loc="left",
    )
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _nines(recall: float) -> float:
    return -math.log10(max(1.0 - recall, 1e-5))
