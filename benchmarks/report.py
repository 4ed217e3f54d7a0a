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

from benchmarks import bars, figures
from benchmarks.tables import security, service
from benchmarks.tables.bulk import bulk_summary, bulk_table
from benchmarks.tables.cache import cache_summary, cache_table
from benchmarks.tables.calibration import calibration_summary, calibration_table
from benchmarks.tables.dictionaries import dictionaries_summary, dictionaries_table
from benchmarks.tables.durable import durable_summary, durable_table
from benchmarks.tables.filtered import filter_summary, filter_table
from benchmarks.tables.frameworks import frameworks_summary, frameworks_table
from benchmarks.tables.ledger import ledger_summary, ledger_table
from benchmarks.tables.markdown import markdown, size
from benchmarks.tables.recall import recall_summary, recall_table
from benchmarks.tables.retrieval import retrieval_summary, retrieval_table
from benchmarks.tables.stream import stream_summary, stream_table
from benchmarks.tables.tenant import tenant_summary, tenant_table
from benchmarks.tables.tenants import tenants_summary, tenants_table

__all__ = ["BEGIN", "END", "main", "render", "splice", "summary"]

BEGIN = "<!-- benchmarks: begin; written by python -m benchmarks.report -->"
END = "<!-- benchmarks: end -->"
_ROOT = Path(__file__).resolve().parent.parent
_COMMANDS = {
    "recall": "python -m benchmarks recall --data FOLDER",
    "filter": "python -m benchmarks filter --data FOLDER",
    "calibration": "python -m benchmarks calibration --data FOLDER",
    "stream": "python -m benchmarks stream --data FOLDER",
    "tenant": "python -m benchmarks tenant --data FOLDER --quantization {quantization}",
    "tenants": "python -m benchmarks tenants --data FOLDER",
    "dictionaries": "python -m benchmarks dictionaries",
    "durable": "python -m benchmarks durable --data FOLDER --rounds {rounds}",
    "ledger": "python -m benchmarks ledger --calls {calls}",
    "sandbox": "python -m benchmarks sandbox",
    "broker": "python -m benchmarks broker",
    "cache": "python -m benchmarks cache",
    "import": "python -m benchmarks import",
    "ingest": "python -m benchmarks ingest",
    "bulk": "python -m benchmarks bulk --gigabytes {gigabytes:g} --embedder {embedder}",
    "retrieval": "python -m benchmarks retrieval",
    "frameworks": "python -m benchmarks frameworks",
}

_OF_A_DATASET = {"recall", "filter", "calibration", "stream", "tenant", "durable"}
_HEADINGS = {
    "recall": "Recall and speed",
    "filter": "Filtered search",
    "calibration": "Recall asked for, and reached",
    "stream": "Content replaced several times over",
    "tenant": "A tenant's search beside its index's",
    "tenants": "Many tenants",
    "dictionaries": "Dictionaries of texts",
    "durable": "Durable inserts",
    "ledger": "What a charge costs",
    "sandbox": "Confined calls",
    "broker": "The way out of a confined tool",
    "cache": "Embedding cache",
    "import": "Import, milliseconds beyond NumPy",
    "ingest": "Ingestion",
    "bulk": "Memory of a long ingest",
    "retrieval": "How well is found what is relevant",
    "frameworks": "Beside agent frameworks",
}


def render(results: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write the page of all results, and their pictures, into ``folder``."""
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
        picture = []
        if kind in _OF_A_DATASET:
            name = result["dataset"]["name"]
            heading += f", {name}: {size(result['dataset'])}, {result['dataset']['metric']}"
        if kind == "tenant":
            heading += f", quantization {result['settings']['quantization']}"
        if kind == "bulk":
            heading += ": {gigabytes:g} GB, embedder {embedder}".format_map(result["settings"])
        if kind in _DRAWN:
            drawn = _DRAWN[kind](result, folder)
            pictures += drawn
            of = f": {result['dataset']['name']}" if kind in _OF_A_DATASET else ""
            picture = ["", f"![{_HEADINGS[kind]}{of}]({drawn[0].name})"] if drawn else []
        lines += ["", f"## {heading}", "", f"`{_command(result)}`", *picture, ""]
        lines += [*_TABLES[kind](result), "", *_ran_on(result)]
    page = folder / "index.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [page, *pictures]


def summary(results: Sequence[dict[str, Any]]) -> list[str]:
    """The short table: one line a claim, with the command that measures it again."""
    rows = []
    for result in results:
        command = f"`{_command(result)}`"
        rows += [(*line, command) for line in _SUMMARIES[result["benchmark"]](result)]
    return markdown(("what", "measured", "command"), rows)


def splice(text: str, lines: Iterable[str]) -> str:
    """``text`` with what lies between the marker lines replaced.

    Raises:
        ValueError: the markers aren't there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the file needs the lines {BEGIN!r} and {END!r}, in this order")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def _command(result: dict[str, Any]) -> str:
    command = _COMMANDS[result["benchmark"]].format_map(result.get("settings", {}))
    if "whole" in result and result["whole"] is None:
        command += " --no-compare"
    dataset = result.get("dataset", {"name": "", "vectors": 0})
    # A part that was drawn of a dataset is called so.
    is_cut = dataset["name"].endswith(f"-{dataset['vectors']}")
    return f"{command} --limit {dataset['vectors']}" if is_cut else command


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


_DRAWN = {**figures.DRAWN, **bars.DRAWN}
_TABLES = {
    "recall": recall_table,
    "filter": filter_table,
    "calibration": calibration_table,
    "stream": stream_table,
    "tenant": tenant_table,
    "tenants": tenants_table,
    "dictionaries": dictionaries_table,
    "durable": durable_table,
    "ledger": ledger_table,
    "sandbox": security.sandbox_table,
    "broker": security.broker_table,
    "cache": cache_table,
    "import": service.import_table,
    "ingest": service.ingest_table,
    "bulk": bulk_table,
    "retrieval": retrieval_table,
    "frameworks": frameworks_table,
}
_SUMMARIES = {
    "recall": recall_summary,
    "filter": filter_summary,
    "calibration": calibration_summary,
    "stream": stream_summary,
    "tenant": tenant_summary,
    "tenants": tenants_summary,
    "dictionaries": dictionaries_summary,
    "durable": durable_summary,
    "ledger": ledger_summary,
    "sandbox": security.sandbox_summary,
    "broker": security.broker_summary,
    "cache": cache_summary,
    "import": service.import_summary,
    "ingest": service.ingest_summary,
    "bulk": bulk_summary,
    "retrieval": retrieval_summary,
    "frameworks": frameworks_summary,
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
