from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import recall
from benchmarks.peers.base import PeerSpec, load_peer, peer_names
from benchmarks.versions import versions_of

ROOT = Path(__file__).resolve().parents[2]


def test_every_variant_of_ours_reaches_high_recall(folder: Path) -> None:
    result = recall.run(
        folder,
        peers=[PeerSpec.parse(name) for name in recall.OURS],
        ef_search=(10, 100),
        rounds=2,
        seconds=0.0,
        warmup=5,
    )
    assert [peer["error"] for peer in result["peers"]] == [None] * len(recall.OURS)
    for peer in result["peers"]:
        assert peer["points"][-1]["recall"] > 0.95
        parts = [peer["parameters"][name] for name in ("element_type", "quantization")]
        parts += ["mapped"] if peer["parameters"]["vectors_mapped"] else []
        assert "-".join(part for part in parts if part != "none") == peer["variant"]
        assert peer["ratio_to_hnswlib"] == {}


def test_each_installed_peer_reaches_high_recall_and_can_be_opened_again(
    wide_folder: Path,
) -> None:
    peers = [PeerSpec.parse(name) for name in recall.PEERS if _installed(name)]
    if not peers:
        pytest.skip("no peer is installed; pip install 'llmspell[bench]'")
    result = recall.run(
        wide_folder, peers=peers, ef_search=(10, 100), rounds=1, seconds=0.0, warmup=5
    )
    assert [peer["error"] for peer in result["peers"]] == [None] * len(peers)
    for peer in result["peers"]:
        # Vectors in twelve tight clusters: not every library's graph joins all of them.
        assert peer["points"][-1]["recall"] > 0.85, peer["name"]
        assert peer["batches"]["points"][-1]["recall"] > 0.85, peer["name"]
        assert peer["version"]
        assert peer["load"]["error"] is None, peer["name"]
        assert peer["load"]["ready_ms"] > 0
        if peer["name"] == "hnswlib":
            assert peer["points"][-1]["recall"] > 0.95
            assert peer["ratio_to_hnswlib"]["0.90"] == 1.0


def test_builds_on_other_numbers_of_threads_state_the_recall_they_give(folder: Path) -> None:
    result = recall.run(
        folder,
        peers=[PeerSpec.parse("llmspell")],
        ef_search=(10, 100),
        rounds=1,
        seconds=0.0,
        build_threads=(1, 2),
    )
    one, two = result["peers"][0]["builds"]
    assert (one["threads"], two["threads"]) == (1, 2)
    assert one["setting"] == two["setting"]
    for build in (one, two):
        assert build["wall_s"] > 0
        assert build["recall"] > 0.9


def test_opening_is_timed_in_a_fresh_process_and_memory_is_split(folder: Path) -> None:
    (peer,) = recall.run(
        folder, peers=[PeerSpec.parse("llmspell")], ef_search=(100,), rounds=1, seconds=0.0
    )["peers"]
    load = peer["load"]
    assert load["ready_ms"] == pytest.approx(
        load["import_ms"] + load["load_ms"] + load["first_query_ms"], abs=0.1
    )
    assert load["file_mib"] >= 0
    if Path("/proc/self/smaps_rollup").exists():
        assert peer["memory"].keys() == {"anonymous_mib", "file_mib", "anonymous_bytes_a_vector"}
        assert peer["memory"]["anonymous_bytes_a_vector"] > 4 * 24


def test_batches_on_threads_find_what_single_queries_find(folder: Path) -> None:
    (peer,) = recall.run(
        folder, peers=[PeerSpec.parse("llmspell")], ef_search=(20, 100), rounds=1, seconds=0.0
    )["peers"]
    for single, batch in zip(peer["points"], peer["batches"]["points"], strict=True):
        assert single["recall"] == batch["recall"]
        assert batch["p50_us"] is None
        assert batch["qps"] > 0


def test_a_peer_that_is_not_installed_says_so_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A metadata finder that knows nothing of the library hides it wherever it is installed.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "known = m.version\n"
        "def version(name):\n"
        "    if name == 'voyager': raise m.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "m.version = version\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = recall.run(
        folder,
        peers=[PeerSpec.parse("voyager"), PeerSpec.parse("llmspell")],
        ef_search=(100,),
        rounds=1,
        seconds=0.0,
    )
    missing, sound = result["peers"]
    assert "voyager is not installed; pip install 'llmspell[bench]'" in missing["error"]
    assert sound["error"] is None


def test_command_writes_what_it_ran_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "recall.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "recall", "--data", str(folder)),
            *("--peers", "", "--ours", "llmspell:int8", "--rounds", "1", "--seconds", "0"),
            *("--limit", "200", "--out", str(out), "--cache", str(tmp_path / "cache")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "llmspell:int8" in done.stdout
    result = json.loads(out.read_text())
    assert result["dataset"]["vectors"] == 200
    assert result["settings"]["search_threads"] == 1
    assert result["peers"][0]["at_recall"].keys() == {"0.90", "0.95", "0.98", "0.99", "0.995"}
    assert {"cpu", "simd", "commit", "python", "numpy", "environment"} <= result["host"].keys()
    assert str(tmp_path) not in out.read_text()


def test_a_peer_that_crashes_is_reported_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "faiss"
    broken.mkdir()
    (broken / "__init__.py").write_text("import os; os.abort()")
    known = tmp_path / "faiss_cpu-1.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: faiss-cpu\nVersion: 1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = recall.run(
        folder,
        peers=[PeerSpec.parse("faiss"), PeerSpec.parse("llmspell")],
        ef_search=(100,),
        rounds=1,
        seconds=0.0,
    )
    failed, sound = result["peers"]
    assert "exit status -6" in failed["error"]
    assert failed["points"] == []
    assert sound["error"] is None


def test_unknown_peers_and_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="no peer 'annoy'"):
        PeerSpec.parse("annoy")
    with pytest.raises(ValueError, match="no variant 'f8' of usearch"):
        PeerSpec.parse("usearch:f8")
    assert str(PeerSpec.parse("hnswlib")) == "hnswlib:float32"
    assert "base" not in peer_names()


def _installed(peer: str) -> bool:
    distribution = load_peer(PeerSpec.parse(peer).name).DISTRIBUTION
    return versions_of([distribution])[distribution] is not None
