"""Draw tables and pictures from results: ``python -m benchmarks.report``.

Reads every JSON file in benchmarks/results and writes docs/benchmarks: one page and the pictures
in it. With ``--readme``, also puts the short table between the two marker lines of that file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures

__all__ = ["BEGIN", "END", "main", "render", "splice", "summary"]

BEGIN = "<!-- benchmarks: begin; written by python -m benchmarks.report -->"
END = "<!-- benchmarks: end -->"
_ROOT = Path(__file__).resolve().parent.parent
_COMMANDS = {
    "recall": "python -m benchmarks recall --data FOLDER",
    "tenant": "python -m benchmarks tenant --data FOLDER",
    "import": "python -m benchmarks import",
    "ingest": "python -m benchmarks ingest",
}

_HEADINGS = {
    "recall": "Recall and speed",
    "tenant": "A tenant's search beside its index's",
    "import": "Import, milliseconds beyond NumPy",
    "ingest": "Ingestion",
}


def render(results: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write the page of all results, and the pictures of recall, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[Path] = []
    lines = [
        "# Measured",
        "",
        "Written by `python -m benchmarks.report` from the results in `benchmarks/results`.",
        "[How to benchmark](../how-to/benchmark.md) says how to make them again. Only figures of",
        "one table may be compared: they come from one run on one machine.",
    ]
    for result in results:
        kind = result["benchmark"]
        heading = _HEADINGS[kind]
        if kind == "recall":
            drawn = figures.draw_recall(result, folder)
            pictures += drawn
            name = result["dataset"]["name"]
            heading += f", {name}: {_size(result['dataset'])}, {result['dataset']['metric']}"
            picture = ["", f"![Recall and queries per second on {name}]({drawn[0].name})"]
        else:
            picture = []
        lines += ["", f"## {heading}", "", f"`{_COMMANDS[kind]}`", *picture, ""]
        lines += [*_TABLES[kind](result), "", *_ran_on(result)]
    page = folder / "index.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [page, *pictures]


def summary(results: Sequence[dict[str, Any]]) -> list[str]:
    """The short table: one line a claim, with the command that measures it again."""
    rows = []
    for result in results:
        command = f"`{_COMMANDS[result['benchmark']]}`"
        rows += [(*line, command) for line in _SUMMARIES[result["benchmark"]](result)]
    return _markdown(("what", "measured", "command"), rows)


def splice(text: str, lines: Iterable[str]) -> str:
    """``text`` with what lies between the marker lines replaced.

    Raises:
        ValueError: the markers aren't there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the file needs the lines {BEGIN!r} and {END!r}, in this order")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def _recall_table(result: dict[str, Any]) -> list[str]:
    reference = result["reference"]
    targets = list(result["peers"][0]["at_recall"])
    head = ["index"]
    for target in targets:
        head += [f"QPS @{target}", f"/ {reference}"]
    head += ["p50 / p99 µs @0.95", "build s (CPU s)", "memory MiB"]
    rows = []
    for peer in result["peers"]:
        label = f"{peer['name']} {peer['variant']}"
        if peer["error"] is not None:
            rows.append((f"{label} (failed)", *["—"] * (len(head) - 1)))
            continue
        row = [f"{label}, {peer['version']}"]
        for target in targets:
            reading = peer["at_recall"][target]
            ratio = peer[f"ratio_to_{reference}"].get(target)
            row.append("—" if reading is None else f"{reading['qps']:,.0f}")
            row.append("—" if ratio is None else f"{ratio:.2f}")
        reading = peer["at_recall"].get("0.95")
        row.append("—" if reading is None else f"{reading['p50_us']:.0f} / {reading['p99_us']:.0f}")
        row.append(f"{peer['build']['wall_s']:.0f} ({peer['build']['cpu_s']:.0f})")
        memory = peer["rss_growth_mib"]
        row.append("—" if memory is None else f"{memory:.0f}")
        rows.append(tuple(row))
    return _markdown(head, rows)


def _recall_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    reference = result["reference"]
    dataset = result["dataset"]
    for peer in result["peers"]:
        reading = peer["at_recall"].get("0.95")
        ratio = peer[f"ratio_to_{reference}"].get("0.95")
        if peer["name"] != "llmspell" or reading is None:
            continue
        beside = "" if ratio is None else f", {ratio:.2f} times {reference}"
        lines.append(
            (
                f"queries per second at recall@{result['settings']['k']} = 0.95, one thread, "
                f"{peer['variant']}, {_size(dataset)}",
                f"{reading['qps']:,.0f}{beside}; p50 {reading['p50_us']:.0f} µs, "
                f"p99 {reading['p99_us']:.0f} µs",
            )
        )
    return lines


def _tenant_table(result: dict[str, Any]) -> list[str]:
    rows = []
    for search in result["searches"]:
        for name in ("p50", "p99", "mean"):
            rows.append(
                (
                    f"ef_search {search['ef_search']}, {name}",
                    f"{search['index_us'][name]:.1f}",
                    f"{search['tenant_us'][name]:.1f}",
                    f"{search['overhead_us'][name]:.1f}",
                    f"{search['overhead_percent'][name]:.1f} %",
                )
            )
    head = ("", "`Index.search` µs", "`Tenant.search` µs", "overhead µs", "overhead")
    shares = [
        (f"ef_search {s['ef_search']}", *(f"{s['in_place_us'][n]:.1f}" for n in _IN_PLACE))
        for s in result["searches"]
    ]
    pieces = [(name, f"{spent:.2f}") for name, spent in result["pieces_us"].items()]
    return [
        *_markdown(head, rows),
        "",
        "Where the mean of `Tenant.search` goes, by the database's own instruments:",
        "",
        *_markdown(("", *(f"{name} µs" for name in _IN_PLACE)), shares),
        "",
        "Each step alone and warm; hits are read after the search:",
        "",
        *_markdown(("step", "µs"), pieces),
    ]


_IN_PLACE = ("search", "fetch", "rest")


def _tenant_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    search = result["searches"][0]
    dataset = result["dataset"]
    return [
        (
            f"`Tenant.search` beyond `Index.search`, p50, ef_search {search['ef_search']}, "
            f"{_size(dataset)}",
            f"{search['overhead_us']['p50']:.1f} µs on {search['index_us']['p50']:.1f} µs "
            f"({search['overhead_percent']['p50']:.1f} %)",
        )
    ]


def _import_table(result: dict[str, Any]) -> list[str]:
    spent = result["beyond_numpy_ms"]
    rows = [
        ("`import llmspell`", f"{spent['package']['median']:.1f}"),
        ("and all public names", f"{spent['all_names']['median']:.1f}"),
    ]
    rows += [(name, f"{own:.1f}") for name, own in result["own_ms_by_package"].items()]
    return _markdown(("package", "ms"), rows)


def _import_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    package, names = (result["beyond_numpy_ms"][what] for what in ("package", "all_names"))
    measured = f"{package['median']:.0f} ms; {names['median']:.0f} ms with every public name loaded"
    return [("`import llmspell`, beyond NumPy", measured)]


def _ingest_table(result: dict[str, Any]) -> list[str]:
    stages = [
        (name, f"{stage['seconds']:.2f}", _rate(stage["passages_per_s"]))
        for name, stage in result["stages"].items()
    ]
    total = ("all", f"{result['seconds']:.2f}", _rate(result["passages_per_s"]))
    again = (f"again, {result['unchanged_again']} unchanged", f"{result['again_seconds']:.2f}", "")
    return _markdown(("stage", "seconds", "passages/s"), [*stages, total, again])


def _ingest_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    what = f"ingest of {result['documents']} source files, {result['passages']:,} passages"
    return [(what, f"{_rate(result['passages_per_s'])} passages a second")]


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _size(dataset: dict[str, Any]) -> str:
    return f"{dataset['vectors']:,} vectors of {dataset['dim']} dimensions"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _ran_on(result: dict[str, Any]) -> list[str]:
    host = result["host"]
    settings = result.get("settings", {})
    stated = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
    machine = f"{host['cpu']} ({host['simd']}), {host['cpus']} CPUs, {host['system']}"
    software = f"Python {host['python']}, NumPy {host['numpy']}, commit {host['commit']}"
    lines = [f"{machine}; {software}; {host['time_utc']}, load before {host['load_1min']}."]
    if stated:
        lines.append(f"Settings: {stated}.")
    return lines


_TABLES = {
    "recall": _recall_table,
    "tenant": _tenant_table,
    "import": _import_table,
    "ingest": _ingest_table,
}
_SUMMARIES = {
    "recall": _recall_summary,
    "tenant": _tenant_summary,
    "import": _import_summary,
    "ingest": _ingest_summary,
}


def main() -> None:
    """Parse the command line, read the results, write what is drawn from them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks")
    parser.add_argument("--readme", type=Path, help="file with the marker lines")
    options = parser.parse_args()
    files = sorted(options.results.glob("*.json"))
    if not files:
        parser.error(f"no results in {options.results}; run a benchmark with --out first")
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for path in render(results, options.out):
        print(path)
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(splice(text, summary(results)), encoding="utf-8")
        print(options.readme)


if __name__ == "__main__":
    main()
