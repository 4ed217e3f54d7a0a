"""Pictures, light and dark, of tenants' overhead, cold searches, durable inserts and charges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.tables.durable import syncs_each_call
from benchmarks.tables.ledger import charge_rows
from benchmarks.tables.tenant import case_name
from benchmarks.theme import Theme, of_dataset, save

__all__ = ["DRAWN", "draw_durable", "draw_ledger", "draw_tenant", "draw_tenants"]


def draw_tenant(result: dict[str, Any], folder: Path) -> list[Path]:
    """p50 of the index and of the handle, for each case."""
    cases = result["searches"]

    def draw(axes: Axes, theme: Theme) -> None:
        for offset, side, colour, label in (
            (-0.2, "index_us", theme.others[0], "Index.search"),
            (0.2, "tenant_us", theme.ours[0], "Tenant.search"),
        ):
            places = [number + offset for number in range(len(cases))]
            axes.barh(places, [c[side]["p50"] for c in cases], 0.4, color=colour, label=label)
        _rows(axes, [case_name(case) for case in cases])
        axes.set_xlabel("µs, p50")
        quantization = result["settings"]["quantization"]
        _finish(axes, result, f"quantization {quantization}, one query at a time from Python")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    name = f"{of_dataset(result)}-{result['settings']['quantization']}"
    return save(name, folder, draw, (9.0, 1.5 + 0.4 * len(cases)))


def draw_tenants(result: dict[str, Any], folder: Path) -> list[Path]:
    """The first search of a tenant that isn't open, and the one behind it, if any was measured."""
    if not result["cold"]:
        return []
    states = (
        ("dropped", "first search, its files not in the system's cache", 1),
        ("cached", "first search, its files cached", 0),
        ("next", "the search behind it", 2),
    )

    def draw(axes: Axes, theme: Theme) -> None:
        colours = (theme.ours[0], theme.others[0], theme.others[1])
        for row, cold in enumerate(result["cold"]):
            for turn, (state, label, colour) in enumerate(states):
                spent = cold[f"{state}_ms"]
                place = row + 0.27 * (turn - 1)
                shown = {"label": label} if row == 0 else {}
                axes.barh(place, spent["p50"], 0.25, color=colours[colour], **shown)
                axes.plot(spent["p99"], place, "|", color=theme.ink, markersize=10)
        _rows(axes, [f"{cold['dataset']['vectors']:,} vectors" for cold in result["cold"]])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("ms, p50; the mark is p99")
        dataset = result["cold"][0]["dataset"]
        about = f"tenants that aren't open, vectors of {dataset['dim']} dimensions"
        _title(axes, f"Searching {about}\n{result['host']['cpu']}")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return save("tenants", folder, draw, (9.0, 1.5 + 0.9 * len(result["cold"])))


def draw_durable(result: dict[str, Any], folder: Path) -> list[Path]:
    """One insert that the store calls durable: bars to p50, and a mark at p99."""
    measured = []
    for store in result["stores"]:
        single = next((c for c in store["inserts"] if c["size"] == 1), None)
        if single is not None and single["p50_ms"] is not None:
            measured.append((store, single))

    def draw(axes: Axes, theme: Theme) -> None:
        names = []
        for place, (store, single) in enumerate(measured):
            is_ours = store["name"] == "llmspell"
            colour = theme.ours[0] if is_ours else theme.others[0]
            shade = 1.0 if syncs_each_call(store) is not False else 0.4
            axes.barh(place, single["p50_ms"], 0.6, color=colour, alpha=shade)
            if single["p99_ms"] is not None:
                axes.plot(single["p99_ms"], place, "|", color=theme.ink, markersize=14)
            names.append(f"{store['name']} {store['variant']}")
        _rows(axes, names)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("ms, p50; the mark is p99; pale: a call that returns unsynced")
        _finish(axes, result, f"one record an insert, {result['settings']['filesystem']}")

    return save(of_dataset(result), folder, draw, (9.0, 1.5 + 0.4 * len(measured)))


def draw_ledger(result: dict[str, Any], folder: Path) -> list[Path]:
    """A charge on one thread, in C++ and from Python."""
    rows = [(name, by["threads 1"]) for name, by in charge_rows(result) if by.get("threads 1")]

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (name, ns) in enumerate(rows):
            colour = theme.ours[0] if name.startswith(("ledger", "C++")) else theme.others[0]
            axes.barh(place, ns, 0.6, color=colour)
        _rows(axes, [name for name, _ in rows])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("ns a charge, one thread")
        _title(axes, f"What a charge costs\n{result['host']['cpu']}")

    return save("ledger", folder, draw, (9.0, 1.5 + 0.3 * len(rows)))


DRAWN: dict[str, Callable[[dict[str, Any], Path], list[Path]]] = {
    "tenant": draw_tenant,
    "tenants": draw_tenants,
    "durable": draw_durable,
    "ledger": draw_ledger,
}


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def _finish(axes: Axes, result: dict[str, Any], how: str) -> None:
    dataset = result["dataset"]
    _title(
        axes,
        f"{dataset['name']}: {dataset['dim']} dimensions\n{how}; {result['host']['cpu']}",
    )


def _title(axes: Axes, text: str) -> None:
    axes.grid(visible=True, which="major", axis="x")
    axes.set_axisbelow(True)
    axes.set_title(text, fontsize=9, loc="left")
