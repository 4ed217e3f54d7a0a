from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import report, stream
from benchmarks.peers.base import PeerSpec, load_peer
from benchmarks.stream_worker import StreamWorker
from benchmarks.versions import versions_of


def test_streamed_content_is_found_and_set_beside_a_fresh_build(
    wide_folder: Path, tmp_path: Path
) -> None:
    names = ["llmspell"]
    for name in ("hnswlib", "usearch", "svs:dynamic"):
        distribution = load_peer(PeerSpec.parse(name).name).DISTRIBUTION
        if versions_of([distribution])[distribution] is not None:
            names.append(name)
    result = stream.run(
        wide_folder,
        peers=[PeerSpec.parse(name) for name in names],
        turns=2,
        steps=3,
        threads=(1,),
        ef_search=(100,),
        seconds=0.0,
    )
    assert [run["error"] for run in result["runs"]] == [None] * len(names)
    for run in result["runs"]:
        assert [turn["replaced"] for turn in run["turns"]] == [300, 300]
        for state in (*run["turns"], run["fresh"]):
            assert state["points"][0]["recall"] > 0.9, run["name"]
            assert state["self_found"] > 0.95, run["name"]
        assert run["turns"][0]["inserts_per_s"] > 0
        assert run["fresh"]["build"]["threads"] == 1
    report.render([result], tmp_path)
    table = (tmp_path / "index.md").read_text()
    assert f"{result['runs'][0]['turns'][-1]['inserts_per_s']:,.0f}" in table
    assert (tmp_path / "stream-clusters-64-dark.svg").exists()


@pytest.mark.parametrize("mixed", [False, True])
def test_recall_in_a_stream_is_against_what_is_in_the_index_then(
    folder: Path, tmp_path: Path, mixed: bool
) -> None:
    np.save(tmp_path / "rows.npy", np.arange(300))
    setup = {"dim": 24, "metric": "ip", "m": 16, "ef_construction": 50, "build_threads": 1}
    worker = StreamWorker(
        {
            **{"name": "llmspell", "variant": "float32", "data": str(folder), "limit": None},
            **{"k": 5, "seconds": 0.0, "self_sample": 100},
            "setup": {**setup, "seed": 0, "scratch": str(tmp_path), "changing": True},
        }
    )
    worker.begin(str(tmp_path / "rows.npy"))
    assert worker.turn(3, 1, mixed)["replaced"] == 300
    worker.save_rows(str(tmp_path / "after.npy"))
    after = np.load(tmp_path / "after.npy")
    assert len(np.unique(after)) == 300
    assert not np.array_equal(np.sort(after), np.arange(300))
    # So few are compared with one another: no graph, no miss.
    assert worker.state([50])["points"][0]["recall"] == 1.0


def test_a_peer_that_cannot_delete_says_so(folder: Path, tmp_path: Path) -> None:
    if versions_of(["voyager"])["voyager"] is None:
        pytest.skip("pip install 'llmspell[bench]'")
    result = stream.run(
        folder,
        peers=[PeerSpec.parse("voyager")],
        turns=1,
        steps=2,
        threads=(1,),
        ef_search=(50,),
        seconds=0.0,
    )
    assert "takes no deletes" in result["runs"][0]["error"]
    report.render([result], tmp_path)
    assert "voyager Float32 (failed)" in (tmp_path / "index.md").read_text()
