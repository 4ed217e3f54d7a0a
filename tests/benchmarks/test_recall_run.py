from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import recall
from benchmarks.peers.base import PeerSpec, peer_names

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
        assert "-".join(part for part in parts if part != "none") == peer["variant"]
        assert peer["ratio_to_hnswlib"] == {}


def test_each_installed_peer_reaches_high_recall(folder: Path) -> None:
    # rabitqlib takes 64 dimensions and more; the folder has fewer.
    libraries = [name for name in ("hnswlib", "usearch", "faiss") if _installed(name)]
    if not libraries:
        pytest.skip("no peer is installed; pip install 'llmspell[bench]'")
    result = recall.run(
        folder,
        peers=[PeerSpec.parse(name) for name in libraries],
        ef_search=(10, 100),
        rounds=2,
        seconds=0.0,
        warmup=5,
    )
    assert [peer["error"] for peer in result["peers"]] == [None] * len(libraries)
    for peer in result["peers"]:
        assert peer["points"][-1]["recall"] > 0.95
        assert peer["at_recall"]["0.90"]["qps"] > 0
        assert peer["version"]
    if "hnswlib" in libraries:
        reference = result["peers"][libraries.index("hnswlib")]
        assert reference["ratio_to_hnswlib"]["0.90"] == 1.0


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
    assert {"cpu", "simd", "commit", "python", "numpy", "environment"} <= result["host"].keys()
    assert str(tmp_path) not in out.read_text()


def test_a_peer_that_crashes_is_reported_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "faiss"
    broken.mkdir()
    (broken / "__init__.py").write_text("import os; os.abort()")
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


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
