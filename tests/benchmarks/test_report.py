from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import folders, imports, recall, report
from benchmarks.peers.base import PeerSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    return recall.run(
        folder,
        peers=[PeerSpec.parse("llmspell"), PeerSpec.parse("llmspell:int8")],
        ef_search=(10, 100),
        rounds=1,
        seconds=0.0,
    )


def test_each_number_of_the_table_is_the_result_s(measured: dict[str, Any], tmp_path: Path) -> None:
    report.render([measured], tmp_path)
    table = (tmp_path / "index.md").read_text()
    for peer in measured["peers"]:
        assert f"llmspell {peer['variant']}" in table
        assert f"{peer['at_recall']['0.95']['qps']:,.0f}" in table
        assert f"{peer['batches']['at_recall']['0.95']['qps']:,.0f}" in table
        assert f"{peer['load']['load_ms']:,.1f}" in table
        assert f"{peer['memory']['anonymous_bytes_a_vector']:,}" in table
    assert measured["host"]["commit"] in table
    assert "m 16" in table


def test_the_fastest_is_bold_and_ours_is_set_beside_the_best_peer(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    ours, other = json.loads(json.dumps(measured["peers"]))
    other["name"] = "hnswlib"
    for target, reading in ours["at_recall"].items():
        other["at_recall"][target] = {**reading, "qps": 4 * reading["qps"]}
    report.render([{**measured, "peers": [ours, other]}], tmp_path)
    table = (tmp_path / "index.md").read_text()
    fastest = other["at_recall"]["0.95"]["qps"]
    assert f"**{fastest:,.0f}**" in table
    assert "| our best / the best peer | 0.25 | 0.25 |" in table


def test_the_short_table_sets_ours_beside_the_fastest_of_the_others(
    measured: dict[str, Any],
) -> None:
    ours, other = json.loads(json.dumps(measured["peers"]))
    other["name"] = "glass"
    other["at_recall"]["0.95"] = {**ours["at_recall"]["0.95"]}
    other["at_recall"]["0.95"]["qps"] *= 4
    slower = {**other, "variant": "slow", "at_recall": ours["at_recall"]}
    text = "\n".join(report.summary([{**measured, "peers": [ours, slower, other]}]))
    assert ", 0.25 times glass int8; p50" in text
    assert "glass slow" not in text


def test_pictures_are_well_formed_and_the_same_each_time(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    first = {path.name: path.read_bytes() for path in report.render([measured], tmp_path)}
    again = {path.name: path.read_bytes() for path in report.render([measured], tmp_path)}
    assert first == again
    for name in ("recall-clusters-24-light.svg", "recall-clusters-24-dark.svg"):
        assert ElementTree.fromstring(first[name]).tag.endswith("svg")


def test_a_failed_peer_keeps_its_row(measured: dict[str, Any], tmp_path: Path) -> None:
    peers = json.loads(json.dumps(measured["peers"]))
    peers[1] = {
        **{"name": "llmspell", "variant": "int8", "error": "exit status -11", "points": []},
        "at_recall": dict.fromkeys(peers[0]["at_recall"]),
        **{"batches": None, "load": None, "builds": []},
        "ratio_to_hnswlib": {},
    }
    report.render([{**measured, "peers": peers}], tmp_path)
    assert "| llmspell int8 (failed) |" in (tmp_path / "index.md").read_text()


def test_command_puts_the_short_table_between_the_markers(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "recall.json").write_text(json.dumps(measured))
    (results / "import.json").write_text(json.dumps(imports.run(repeats=3)))
    readme = tmp_path / "README.md"
    readme.write_text(f"# before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.report", "--results", str(results)),
            *("--out", str(tmp_path / "docs"), "--readme", str(readme)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = readme.read_text()
    assert text.startswith("# before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "`python -m benchmarks import`" in text
    assert (tmp_path / "docs" / "index.md").exists()


def test_a_file_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        report.splice("nothing here", ["x"])


def test_command_says_how_many_vectors_were_drawn(
    measured: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    assert " --limit " not in "\n".join(report.summary([measured]))
    drawn = folders.load(folder, limit=50).describe()
    text = "\n".join(report.summary([{**measured, "dataset": drawn}]))
    assert "`python -m benchmarks recall --data FOLDER --limit 50`" in text
