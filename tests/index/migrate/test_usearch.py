"""Files of USearch's ``save``."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import errors
from llmspell.config import Metric
from llmspell.index.migrate import read
from tests.index.migrate.writers import USEARCH_METRICS, contents, usearch_file
from tests.index.vectors import clustered

IDS = np.arange(300) * 7 + 3
VECTORS = 3 * clustered(300, 12, 1)
INT8 = np.random.default_rng(5).integers(-127, 128, (300, 12)).astype(np.int8)


def _as_bfloat16(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest of the values that have 8 significant bits."""
    mantissa, exponent = np.frexp(vectors)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(np.float32)


TYPES = {
    "f64": ("float64", VECTORS, VECTORS),
    "f32": ("float32", VECTORS, VECTORS),
    "f16": ("float16", VECTORS, VECTORS.astype(np.float16).astype(np.float32)),
    "bf16": ("bfloat16", VECTORS, _as_bfloat16(VECTORS)),
    "i8": ("int8", INT8, INT8.astype(np.float32)),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", USEARCH_METRICS)
def test_vectors_and_keys_are_those_that_were_saved(
    tmp_path: Path, metric: Metric, dtype: str
) -> None:
    name, given, held = TYPES[dtype]
    space = USEARCH_METRICS[metric]
    source = read(usearch_file(tmp_path / "file", IDS, given, metric=space, dtype=dtype))
    described = source.description
    assert (described.format, described.count, described.deleted) == ("usearch", 300, 0)
    assert (described.dim, described.metric, described.dtype) == (12, metric, name)
    found = contents(source, 64)
    assert list(found) == IDS.tolist()
    np.testing.assert_array_equal(list(found.values()), held)


@pytest.mark.parametrize("dtype", TYPES)
def test_deleted_entries_are_left_out(tmp_path: Path, dtype: str) -> None:
    _, given, held = TYPES[dtype]
    gone = IDS[[0, 5, 299]].tolist()
    source = read(usearch_file(tmp_path / "file", IDS, given, dtype=dtype, deleted=gone))
    assert (source.description.count, source.description.deleted) == (297, 3)
    found = contents(source)
    assert found.keys() == set(IDS.tolist()) - set(gone)
    np.testing.assert_array_equal(found[int(IDS[6])], held[6])


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_vector_files_are_read(tmp_path: Path, n: int) -> None:
    source = read(usearch_file(tmp_path / "file", IDS[:n], VECTORS[:n]))
    assert len(source) == n
    assert list(contents(source)) == IDS[:n].tolist()
    assert len(source.rebuild()) == n


def test_everything_deleted_gives_nothing(tmp_path: Path) -> None:
    path = usearch_file(tmp_path / "file", IDS[:2], VECTORS[:2], deleted=IDS[:2].tolist())
    source = read(path)
    assert (len(source), source.description.deleted) == (0, 2)
    assert contents(source) == {}


def test_keys_that_no_index_takes_are_invalid_ids(tmp_path: Path) -> None:
    path = usearch_file(tmp_path / "file", np.array([5, 2**63], np.uint64), VECTORS[:2])
    with pytest.raises(errors.InvalidId, match=str(2**63)):
        read(path).rebuild()


def test_key_with_several_vectors_is_a_duplicate(tmp_path: Path) -> None:
    path = usearch_file(tmp_path / "file", [5, 5], VECTORS[:2], multi=True)
    with pytest.raises(errors.DuplicateId):
        read(path).rebuild()


@pytest.mark.parametrize(
    ("metric", "dtype", "named"),
    [("hamming", "b1", "metric hamming"), ("haversine", "f32", "metric haversine")],
)
def test_other_metrics_are_named(tmp_path: Path, metric: str, dtype: str, named: str) -> None:
    vectors = np.ones((3, 16 if dtype == "b1" else 2), np.uint8 if dtype == "b1" else np.float32)
    given = np.packbits(vectors, axis=1) if dtype == "b1" else vectors
    import usearch.index

    index = usearch.index.Index(ndim=vectors.shape[1], metric=metric, dtype=dtype)
    index.add(np.arange(3), given)
    index.save(str(tmp_path / "file"))
    with pytest.raises(errors.UnsupportedFormat, match=named):
        read(tmp_path / "file")


MATRIX = 8
N = 30
HEAD = MATRIX + N * 48
GRAPH = HEAD + 64
LEVELS = GRAPH + 40
NODES = LEVELS + 2 * N


def _whole(tmp_path: Path) -> bytearray:
    path = usearch_file(tmp_path / "file", IDS[:N], VECTORS[:N], deleted=[int(IDS[4])])
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(
    ("at", "layout", "value", "named"),
    [
        (HEAD + 7, "<H", 3, "USearch 3"),
        (HEAD + 9, "<H", 9, r"USearch 2\.9"),
        (HEAD + 13, "<B", ord("p"), "metric pearson"),
        (HEAD + 13, "<B", 200, "metric number 200"),
        (HEAD + 14, "<B", 17, "type u8"),
        (HEAD + 14, "<B", 200, "type number 200"),
        (HEAD + 15, "<B", 3, "keys of type uuid"),
    ],
)
def test_what_is_not_read_is_named(
    tmp_path: Path, at: int, layout: str, value: int, named: str
) -> None:
    content = _whole(tmp_path)
    struct.pack_into(layout, content, at, value)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(errors.UnsupportedFormat, match=named):
        read(tmp_path / "file")


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (0, "<I", 2**32 - 1),  # rows of the matrix
        (0, "<I", 29),
        (4, "<I", 47),  # bytes a row
        (HEAD, "<7s", b"usearsh"),
        (HEAD + 16, "<B", 11),  # type of slots
        (HEAD + 17, "<Q", 30),  # count_present
        (HEAD + 17, "<Q", 2**64 - 1),
        (HEAD + 25, "<Q", 0),  # count_deleted
        (HEAD + 33, "<Q", 0),  # dimensions
        (HEAD + 33, "<Q", 13),
        (HEAD + 33, "<Q", 2**62),
        (GRAPH, "<Q", 29),  # nodes
        (GRAPH, "<Q", 2**63),
        (GRAPH + 8, "<Q", 5),  # links above the bottom
        (GRAPH + 8, "<Q", 2**64 - 1),
        (GRAPH + 16, "<Q", 9),  # links at the bottom
        (GRAPH + 24, "<Q", 2**64 - 1),  # top level
        (GRAPH + 32, "<Q", 30),  # entry point
        (LEVELS, "<h", -1),
        (LEVELS, "<h", 2**15 - 1),
        (NODES + 8, "<h", 1),  # level of the first node, unlike the table's
    ],
)
def test_counts_that_do_not_hold_are_detected(
    tmp_path: Path, at: int, layout: str, value: int | bytes
) -> None:
    content = _whole(tmp_path)
    assert struct.unpack_from("<h", content, NODES + 8) == (0,)
    struct.pack_into(layout, content, at, value)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(errors.CorruptFile):
        read(tmp_path / "file", format="usearch")


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    content = bytes(_whole(tmp_path))
    for length in [*range(0, len(content), 7), len(content) - 1]:
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(errors.CorruptFile):
            read(tmp_path / "cut", format="usearch")
    (tmp_path / "cut").write_bytes(content + b"\0")
    with pytest.raises(errors.CorruptFile, match="its parts end at byte"):
        read(tmp_path / "cut")


def test_empty_file_with_an_entry_point_is_detected(tmp_path: Path) -> None:
    content = bytearray(usearch_file(tmp_path / "file", [], VECTORS[:0]).read_bytes())
    struct.pack_into("<Q", content, MATRIX + 64 + 32, 1)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(errors.CorruptFile, match="no nodes"):
        read(tmp_path / "file")


def test_file_without_its_vectors_is_named(tmp_path: Path) -> None:
    """As C++ and Rust can save it, with ``exclude_vectors``."""
    content = _whole(tmp_path)
    (tmp_path / "file").write_bytes(content[HEAD:])
    with pytest.raises(errors.UnsupportedFormat, match="without its vectors"):
        read(tmp_path / "file")


def test_sizes_of_64_bits_are_read(tmp_path: Path) -> None:
    """As C++ and Rust can save it, with ``use_64_bit_dimensions``."""
    content = _whole(tmp_path)
    expected = contents(read(tmp_path / "file"))
    (tmp_path / "wide").write_bytes(struct.pack("<QQ", N, 48) + content[MATRIX:])
    found = contents(read(tmp_path / "wide"))
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))


def test_dimension_above_an_indexs_is_named(tmp_path: Path) -> None:
    path = usearch_file(tmp_path / "file", [1], np.ones((1, 16_385), np.float32))
    with pytest.raises(errors.UnsupportedFormat, match="16,385 dimensions"):
        read(path)
