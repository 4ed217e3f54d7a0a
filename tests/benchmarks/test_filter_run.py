from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import filtered, folders, report, selections
from benchmarks.peers.base import PeerSpec, load_peer
from benchmarks.versions import versions_of


@pytest.mark.parametrize("kind", selections.KINDS)
def test_selection_gives_each_query_the_best_of_its_allowed_vectors(
    kind: str, folder: Path
) -> None:
    dataset = folders.load(folder)
    case = selections.select(dataset, kind, 0.1, 5)
    assert (case.allowed.sum(axis=1) == 60).all()
    for query, group, found in zip(dataset.queries, case.group, case.exact, strict=True):
        rows = np.flatnonzero(case.allowed[group])
        best = rows[np.argsort(-(dataset.base[rows] @ query), kind="stable")[:5]]
        assert set(found) == set(best)


def test_correlated_sets_lie_near_their_queries_and_anti_correlated_far(folder: Path) -> None:
    dataset = folders.load(folder)
    closeness = []
    for kind in ("correlated", "random", "anti-correlated"):
        case = selections.select(dataset, kind, 0.1, 5)
        scores = dataset.queries @ dataset.base.T
        closeness.append(scores[case.allowed[case.group]].mean())
    assert closeness[0] > closeness[1] > closeness[2]


def test_fewer_allowed_than_k_leaves_the_rest_of_the_row_empty(folder: Path) -> None:
    case = selections.select(folders.load(folder), "random", 3 / 600, 5)
    assert ((case.exact >= 0).sum(axis=1) == 3).all()


def test_filtered_run_reads_speed_at_recall_for_each_case(folder: Path, tmp_path: Path) -> None:
    names = ["llmspell", "exact"]
    for name in ("hnswlib", "faiss"):
        distribution = load_peer(name).DISTRIBUTION
        if versions_of([distribution])[distribution] is not None:
            names.append(name)
    result = filtered.run(
        folder,
        peers=[PeerSpec.parse(name) for name in names],
        kept=(0.5, 0.005),
        kinds=("random", "anti-correlated"),
        ef_search=(10, 400),
        rounds=1,
        seconds=0.0,
        queries=20,
    )
    assert [peer["error"] for peer in result["peers"]] == [None] * len(names)
    cases = {"unfiltered", "random 50 %", "random 0.5 %"}
    cases |= {"anti-correlated 50 %", "anti-correlated 0.5 %"}
    for peer in result["peers"]:
        assert peer["cases"].keys() == cases
        assert peer["cases"]["random 50 %"]["points"][-1]["recall"] > 0.9, peer["name"]
    ours, exact = result["peers"][:2]
    for case in cases - {"unfiltered"}:
        assert ours["cases"][case]["short"] == 0
        assert exact["cases"][case]["points"][0]["recall"] > 0.999
    report.render([result], tmp_path)
    table = (tmp_path / "index.md").read_text()
    reading = ours["cases"]["random 0.5 %"]["at_recall"]["0.99"]
    assert f"{reading['qps']:,.0f}" in table
    assert (tmp_path / "filter-clusters-24-light.svg").exists()


def test_a_peer_without_filters_says_so(folder: Path) -> None:
    if versions_of(["voyager"])["voyager"] is None:
        pytest.skip("pip install 'llmspell[bench]'")
    result = filtered.run(
        folder,
        peers=[PeerSpec.parse("voyager"), PeerSpec.parse("exact")],
        kept=(0.1,),
        kinds=("random",),
        ef_search=(10,),
        rounds=1,
        seconds=0.0,
    )
    assert "has no filtered search" in result["peers"][0]["error"]
    assert result["peers"][1]["error"] is None
