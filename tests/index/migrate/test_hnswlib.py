"""Files of hnswlib's ``save_index``."""

from __future__ import annotations

import struct
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from llmspell import errors
from llmspell.config import Metric
from llmspell.index.migrate import read
from tests.index.migrate.writers import HNSWLIB_SPACES, contents, hnswlib_file, normalised
from tests.index.vectors import clustered

HEADER = 96
IDS = np.arange(300) * 7 + 3
VECTORS = 3 * clustered(300, 12, 1)


@pytest.mark.parametrize("metric", HNSWLIB_SPACES)
def test_vectors_and_labels_are_those_that_were_saved(tmp_path: Path, metric: Metric) -> None:
    path = hnswlib_file(tmp_path / "file", IDS, VECTORS, metric=metric)
    source = read(path, dim=12, metric=metric)
    held = source.description
    assert (held.format, held.count, held.deleted) == ("hnswlib", 300, 0)
    assert (held.dim, held.metric, held.dtype) == (12, metric, "float32")
    found = contents(source, 64)
    assert list(found) == IDS.tolist()
    # hnswlib normalises vectors as it takes them, for cosine.
    expected = normalised(VECTORS) if metric == "cosine" else VECTORS
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-6)


def test_deleted_elements_are_left_out(tmp_path: Path) -> None:
    gone = IDS[[0, 5, 299]].tolist()
    path = hnswlib_file(tmp_path / "file", IDS, VECTORS, deleted=gone)
    source = read(path, dim=12, metric="l2")
    assert (source.description.count, source.description.deleted) == (297, 3)
    assert contents(source).keys() == set(IDS.tolist()) - set(gone)


def test_element_that_took_a_deleted_ones_place_is_there(tmp_path: Path) -> None:
    index = hnswlib.Index(space="l2", dim=12)
    index.init_index(max_elements=10, M=4, allow_replace_deleted=True)
    index.add_items(VECTORS[:10], np.arange(10))
    index.mark_deleted(4)
    index.add_items(VECTORS[20:21], [77], replace_deleted=True)
    index.save_index(str(tmp_path / "file"))
    found = contents(read(tmp_path / "file", dim=12, metric="l2"))
    assert found.keys() == {0, 1, 2, 3, 5, 6, 7, 8, 9, 77}
    np.testing.assert_array_equal(found[77], VECTORS[20])


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_vector_files_are_read(tmp_path: Path, n: int) -> None:
    path = hnswlib_file(tmp_path / "file", IDS[:n], VECTORS[:n])
    source = read(path, dim=12, metric="l2")
    assert len(source) == n
    assert list(contents(source)) == IDS[:n].tolist()
    assert len(source.rebuild()) == n


def test_everything_deleted_gives_nothing(tmp_path: Path) -> None:
    path = hnswlib_file(tmp_path / "file", IDS[:2], VECTORS[:2], deleted=IDS[:2].tolist())
    source = read(path, dim=12, metric="l2")
    assert (len(source), source.description.deleted) == (0, 2)
    assert contents(source) == {}


def test_dimension_and_metric_must_be_given(tmp_path: Path) -> None:
    path = hnswlib_file(tmp_path / "file", IDS, VECTORS)
    with pytest.raises(errors.InputError, match="say dim=12"):
        read(path, metric="l2")
    with pytest.raises(errors.InputError, match="metric"):
        read(path, dim=12)


def test_dimension_is_compared_with_the_size_of_a_vector(tmp_path: Path) -> None:
    path = hnswlib_file(tmp_path / "file", IDS, VECTORS)
    with pytest.raises(errors.DimensionMismatch, match="dim=12") as refused:
        read(path, dim=13, metric="l2")
    assert (refused.value.expected, refused.value.actual) == (13, 12)
    with pytest.raises(errors.UnsupportedFormat, match="one a component"):
        read(path, dim=48, metric="l2")


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    content = hnswlib_file(tmp_path / "file", IDS[:30], VECTORS[:30]).read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(errors.CorruptFile):
            read(tmp_path / "cut", format="hnswlib", dim=12, metric="l2")
    (tmp_path / "cut").write_bytes(content + b"\0")
    with pytest.raises(errors.CorruptFile, match="its parts end at byte"):
        read(tmp_path / "cut", dim=12, metric="l2")


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (0, "<Q", 1),  # offsetLevel0_
        (8, "<Q", 1),  # max_elements_, fewer than there are
        (16, "<Q", 31),  # cur_element_count
        (16, "<Q", 2**63),
        (16, "<Q", 2**64 - 1),
        (24, "<Q", 0),  # size_data_per_element_
        (24, "<Q", 2**64 - 1),
        (32, "<Q", 0),  # label_offset_
        (40, "<Q", 2**64 - 4),  # offsetData_
        (48, "<i", -1),  # maxlevel_, below the levels that there are
        (56, "<Q", 2**62),  # maxM_
        (56, "<Q", 5),
        (64, "<Q", 2**62),  # maxM0_
        (HEADER, "<H", 9),  # links of an element, of at most 8
        (HEADER + 2, "<B", 2),  # no mark of hnswlib's
        (HEADER + 3, "<B", 1),
    ],
)
def test_counts_that_do_not_hold_are_detected(
    tmp_path: Path, at: int, layout: str, value: int
) -> None:
    content = bytearray(hnswlib_file(tmp_path / "file", IDS[:30], VECTORS[:30]).read_bytes())
    struct.pack_into(layout, content, at, value)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(errors.CorruptFile):
        read(tmp_path / "file", format="hnswlib", dim=12, metric="l2")


def test_vector_of_another_size_than_any_index_takes_is_named(tmp_path: Path) -> None:
    wide = np.ones((1, 16_385), np.float32)
    path = hnswlib_file(tmp_path / "file", [1], wide)
    with pytest.raises(errors.UnsupportedFormat, match="16,384 dimensions"):
        read(path, dim=16_385, metric="l2")


def test_label_that_no_index_takes_is_an_invalid_id(tmp_path: Path) -> None:
    path = hnswlib_file(tmp_path / "file", np.array([5, 2**63], np.uint64), VECTORS[:2])
    source = read(path, dim=12, metric="l2")
    with pytest.raises(errors.InvalidId, match=str(2**63)):
        contents(source)
