"""Files of FAISS's ``write_index``."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmspell import errors
from llmspell.config import Metric
from llmspell.index.migrate import read
from tests.index.migrate.writers import FAISS_METRICS, contents, faiss, faiss_file
from tests.index.vectors import clustered

IDS = np.arange(300) * 7 + 3
VECTORS = 3 * clustered(300, 12, 1)

Make = Callable[[int], Any]
INNER: dict[str, Make] = {
    "IndexFlat": lambda metric: faiss.IndexFlat(12, metric),
    "IndexHNSWFlat": lambda metric: faiss.IndexHNSWFlat(12, 4, metric),
}
MAPS: dict[str, Make] = {"IndexIDMap": faiss.IndexIDMap, "IndexIDMap2": faiss.IndexIDMap2}


def _file(path: Path, index: Any, n: int = 300) -> Path:
    if n:
        index.add(VECTORS[:n])
    return faiss_file(path, index)


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("metric", FAISS_METRICS)
def test_vectors_without_ids_are_numbered(tmp_path: Path, metric: Metric, inner: str) -> None:
    source = read(_file(tmp_path / "file", INNER[inner](FAISS_METRICS[metric])))
    held = source.description
    assert (held.format, held.count, held.deleted) == ("faiss", 300, 0)
    assert held.kind.startswith(inner)
    assert (held.dim, held.metric, held.dtype) == (12, metric, "float32")
    found = contents(source, 64)
    assert list(found) == list(range(300))
    np.testing.assert_array_equal(list(found.values()), VECTORS)


@pytest.mark.parametrize("around", MAPS)
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("metric", FAISS_METRICS)
def test_ids_of_an_id_map_are_kept(tmp_path: Path, metric: Metric, inner: str, around: str) -> None:
    index = MAPS[around](INNER[inner](FAISS_METRICS[metric]))
    index.add_with_ids(VECTORS, IDS)
    source = read(faiss_file(tmp_path / "file", index))
    assert source.description.kind.startswith(f"{around} of {inner}")
    found = contents(source, 100)
    assert list(found) == IDS.tolist()
    np.testing.assert_array_equal(list(found.values()), VECTORS)


@pytest.mark.parametrize("around", MAPS)
def test_removed_vectors_are_gone(tmp_path: Path, around: str) -> None:
    index = MAPS[around](faiss.IndexFlatL2(12))
    index.add_with_ids(VECTORS, IDS)
    index.remove_ids(IDS[[0, 5, 299]])
    found = contents(read(faiss_file(tmp_path / "file", index)))
    assert found.keys() == set(IDS.tolist()) - set(IDS[[0, 5, 299]].tolist())
    np.testing.assert_array_equal(found[int(IDS[6])], VECTORS[6])


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_vector_files_are_read(tmp_path: Path, n: int, inner: str) -> None:
    index = faiss.IndexIDMap2(INNER[inner](faiss.METRIC_L2))
    if n:
        index.add_with_ids(VECTORS[:n], IDS[:n])
    source = read(faiss_file(tmp_path / "file", index))
    assert len(source) == n
    assert list(contents(source)) == IDS[:n].tolist()
    assert len(source.rebuild()) == n


@pytest.mark.parametrize("id", [-1, -(2**63)])
def test_negative_ids_are_refused(tmp_path: Path, id: int) -> None:
    index = faiss.IndexIDMap2(faiss.IndexFlatL2(12))
    index.add_with_ids(VECTORS[:2], np.array([2**63 - 1, id]))
    source = read(faiss_file(tmp_path / "file", index))
    with pytest.raises(errors.InvalidId, match=str(id)):
        source.rebuild()


def _trained(factory: str, metric: int) -> Any:
    index = faiss.index_factory(12, factory, metric)
    index.train(VECTORS)
    if factory.startswith("IDMap"):
        index.add_with_ids(VECTORS, IDS)
    else:
        index.add(VECTORS)
    return index


@pytest.mark.parametrize(
    ("factory", "named"),
    [
        ("IVF4,Flat", "FAISS IndexIVFFlat"),
        ("IVF4,PQ3x4np", "FAISS IndexIVFPQ"),
        ("SQ8", "FAISS IndexScalarQuantizer"),
        ("PQ3x4np", "FAISS IndexPQ"),
        ("LSH", "FAISS IndexLSH"),
        ("HNSW8,SQ8", "FAISS IndexHNSWSQ"),
        ("HNSW8,PQ3x4np", "FAISS IndexHNSWPQ"),
        ("NSG8,Flat", "FAISS IndexNSGFlat"),
        ("PCA6,Flat", "FAISS IndexPreTransform"),
        ("SQ8,RFlat", "FAISS IndexRefine"),
        ("IDMap,IVF4,Flat", "FAISS IndexIDMap of IndexIVFFlat"),
        ("IDMap2,SQ8", "FAISS IndexIDMap2 of IndexScalarQuantizer"),
    ],
)
def test_other_classes_are_named(tmp_path: Path, factory: str, named: str) -> None:
    path = faiss_file(tmp_path / "file", _trained(factory, faiss.METRIC_L2))
    with pytest.raises(errors.UnsupportedFormat, match=f"{named};"):
        read(path)


def test_map_in_a_map_is_named(tmp_path: Path) -> None:
    flat = faiss.IndexFlatL2(12)
    inner = faiss.IndexIDMap(flat)
    path = faiss_file(tmp_path / "file", faiss.IndexIDMap(inner))
    with pytest.raises(errors.UnsupportedFormat, match="IndexIDMap of IndexIDMap;"):
        read(path)


@pytest.mark.parametrize("inner", INNER)
def test_other_metrics_are_named(tmp_path: Path, inner: str) -> None:
    path = _file(tmp_path / "file", INNER[inner](faiss.METRIC_Linf))
    with pytest.raises(errors.UnsupportedFormat, match="METRIC_Linf"):
        read(path)


def test_graph_without_its_vectors_is_named(tmp_path: Path) -> None:
    index = INNER["IndexHNSWFlat"](faiss.METRIC_L2)
    index.add(VECTORS)
    faiss.write_index(index, str(tmp_path / "file"), faiss.IO_FLAG_SKIP_STORAGE)
    with pytest.raises(errors.UnsupportedFormat, match="index without vectors"):
        read(tmp_path / "file")


def test_binary_index_is_named(tmp_path: Path) -> None:
    index = faiss.IndexBinaryFlat(64)
    index.add(np.zeros((3, 8), np.uint8))
    faiss.write_index_binary(index, str(tmp_path / "file"))
    with pytest.raises(errors.UnsupportedFormat, match="IndexBinaryFlat"):
        read(tmp_path / "file")


def _whole(tmp_path: Path) -> bytes:
    index = faiss.IndexIDMap2(faiss.IndexHNSWFlat(12, 4))
    index.add_with_ids(VECTORS[:30], IDS[:30])
    return faiss_file(tmp_path / "file", index).read_bytes()


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    content = _whole(tmp_path)
    for length in [*range(0, len(content), 7), len(content) - 1]:
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(errors.CorruptFile):
            read(tmp_path / "cut", format="faiss")
    (tmp_path / "cut").write_bytes(content + b"\0")
    with pytest.raises(errors.CorruptFile, match="its parts end at byte"):
        read(tmp_path / "cut")


MAP_HEADER = 4 + 33  # letters; d, ntotal, two unused, is_trained, metric
GRAPH = MAP_HEADER + 4 + 33


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (4, "<i", 0),  # d of the map
        (4, "<i", 13),
        (8, "<q", -1),  # ntotal of the map
        (8, "<q", 31),
        (32, "<B", 2),  # is_trained
        (33, "<i", 0),  # the map's metric, unlike the graph's
        (33, "<i", 99),
        (MAP_HEADER, "<4s", b"Ix??"),  # the class in the map
        (MAP_HEADER + 4, "<i", 11),  # d of the graph
        (MAP_HEADER + 8, "<q", 2**62),  # its ntotal
        (GRAPH, "<Q", 0),  # levels
        (GRAPH, "<Q", 2**64 - 1),
    ],
)
def test_counts_that_do_not_hold_are_detected(
    tmp_path: Path, at: int, layout: str, value: int | bytes
) -> None:
    content = bytearray(_whole(tmp_path))
    struct.pack_into(layout, content, at, value)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(errors.CorruptFile):
        read(tmp_path / "file")


def _graph_tables(content: bytes) -> dict[str, int]:
    """Where each table of the graph has its count; its elements follow."""
    places, at = {}, GRAPH
    for name, size in (("probabilities", 8), ("places", 4), ("levels", 4), ("offsets", 8)):
        places[name] = at
        at += 8 + size * int(struct.unpack_from("<Q", content, at)[0])
    places["links"] = at
    at += 8 + 4 * int(struct.unpack_from("<Q", content, at)[0]) + 20
    places["storage"] = at
    return places


@pytest.mark.parametrize(
    ("table", "offset", "layout", "value"),
    [
        ("places", 0, "<Q", 2**61),
        ("places", 8, "<i", 1),
        ("places", 12, "<i", -5),
        ("levels", 0, "<Q", 29),
        ("levels", 8, "<i", 0),
        ("levels", 8, "<i", 2**31 - 1),
        ("offsets", 0, "<Q", 30),
        ("offsets", 16, "<q", -8),
        ("offsets", 8 + 8 * 30, "<q", 2**62),
        ("links", 0, "<Q", 2**64 - 1),
        ("storage", 0, "<4s", b"IxFI"),  # letters of another metric than the header's
        ("storage", 4, "<i", 6),
        ("storage", 8, "<q", 60),
        ("storage", 37, "<Q", 12 * 30 + 1),
        ("storage", 45 + 4 * 12 * 30, "<Q", 2**60),  # the number of ids
    ],
)
def test_tables_that_do_not_agree_are_detected(
    tmp_path: Path, table: str, offset: int, layout: str, value: int | bytes
) -> None:
    content = bytearray(_whole(tmp_path))
    struct.pack_into(layout, content, _graph_tables(bytes(content))[table] + offset, value)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(errors.CorruptFile):
        read(tmp_path / "file")


def test_dimension_above_an_indexs_is_named(tmp_path: Path) -> None:
    path = faiss_file(tmp_path / "file", faiss.IndexFlatL2(16_385))
    with pytest.raises(errors.UnsupportedFormat, match="16,385 dimensions"):
        read(path)


def test_letters_of_no_class_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"What a pity")
    with pytest.raises(errors.UnsupportedFormat, match="as no FAISS index does"):
        read(tmp_path / "file", format="faiss")


def test_arguments_are_compared_with_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path / "file", faiss.IndexFlatIP(12))
    assert len(read(path, dim=12, metric="ip")) == 300
    with pytest.raises(errors.DimensionMismatch, match="12 dimensions, not 13"):
        read(path, dim=13)
    with pytest.raises(errors.InputError, match="metric ip, not l2"):
        read(path, metric="l2")
