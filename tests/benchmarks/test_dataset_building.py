from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import corpus, datasets, folders


class LetterEmbedder:
    """Counts letters: real enough for everything but meaning, and instant."""

    model_id = "letters"
    dim = 26

    def embed(self, texts: Sequence[str], *, truncate: bool = False) -> NDArray[np.float32]:
        counts = [[text.lower().count(chr(97 + i)) + 0.01 for i in range(26)] for text in texts]
        vectors = np.array(counts, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


@pytest.fixture
def built(tmp_path: Path) -> Path:
    out = tmp_path / "made"
    datasets.build(out, embedder=LetterEmbedder(), source="stdlib", size=300, queries=20, seed=5)
    return out


def test_built_folder_can_be_loaded_and_says_where_it_comes_from(built: Path) -> None:
    dataset = folders.load(built)
    assert dataset.base.shape == (300, 26)
    assert dataset.queries.shape == (20, 26)
    assert folders.exact_neighbors(dataset, 10).shape == (20, 10)
    readme = (built / "README.md").read_text()
    assert "standard library" in readme
    assert "--source stdlib --size 300 --queries 20 --seed 5" in readme
    assert json.loads((built / "meta.json").read_text())["model"] == "letters"


def test_equal_seeds_build_equal_folders(built: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    datasets.build(again, embedder=LetterEmbedder(), source="stdlib", size=300, queries=20, seed=5)
    for name in ("base.f16.npy", "queries.f16.npy"):
        assert (again / name).read_bytes() == (built / name).read_bytes()


def test_existing_dataset_is_not_overwritten(built: Path) -> None:
    with pytest.raises(FileExistsError):
        datasets.build(
            built, embedder=LetterEmbedder(), source="stdlib", size=10, queries=5, seed=0
        )


def test_asking_for_more_passages_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="passages"):
        datasets.build(
            tmp_path / "x",
            embedder=LetterEmbedder(),
            source="stdlib",
            size=10**7,
            queries=5,
            seed=0,
        )


def test_standard_library_gives_documentation_and_sources() -> None:
    first = list(itertools.islice(corpus.standard_library(), 500))
    assert all(": " in text for text in first)
    assert any("def " in text for text in first)
    assert any("def " not in text for text in first)
    assert max(map(len, first)) <= corpus.MAX_CHARS


def test_wordnet_senses_read_as_words_and_gloss(tmp_path: Path) -> None:
    senses = {
        "noun": "00001740 03 n 01 entity 0 000 | that which exists  ",
        "verb": "00001740 29 v 02 breathe 0 take_a_breath 0 000 01 + 02 00 | draw air  ",
        "adj": "00001740 00 a 01 able(p) 0 000 | having the means  ",
        "adv": "00001837 02 r 01 a_cappella 0 000 | without musical accompaniment  ",
    }
    for part, line in senses.items():
        (tmp_path / f"data.{part}").write_text(f"  1 licence | text  \n{line}\n")
    assert list(corpus.wordnet(tmp_path)) == [
        "entity: that which exists",
        "breathe, take a breath: draw air",
        "able: having the means",
        "a cappella: without musical accompaniment",
    ]
