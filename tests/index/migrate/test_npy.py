"""Pairs of ``.npy`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy_format

from llmspell import errors
from llmspell.index.migrate import read
from tests.index.migrate.writers import contents
from tests.index.vectors import clustered

IDS = np.arange(300) * 7 + 3
VECTORS = 3 * clustered(300, 12, 1)
WHOLE = np.random.default_rng(5).integers(-127, 128, (300, 12))


def _saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", "i1"])
def test_vectors_of_every_type_are_read(tmp_path: Path, dtype: str) -> None:
    given = (WHOLE if dtype == "i1" else VECTORS).astype(dtype)
    source = read(_saved(tmp_path / "x.npy", given), metric="l2")
    held = source.description
    assert (held.format, held.count, held.dim, held.metric) == ("npy", 300, 12, "l2")
    assert held.dtype == given.dtype.newbyteorder("=").name
    found = contents(source, 64)
    assert list(found) == list(range(300))
    np.testing.assert_array_equal(list(found.values()), given.astype(np.float32))


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<u8", "<i4", "<u2"])
def test_ids_come_from_the_second_file(tmp_path: Path, dtype: str) -> None:
    ids = _saved(tmp_path / "ids.npy", IDS.astype(dtype))
    source = read(_saved(tmp_path / "x.npy", VECTORS), metric="ip", ids=ids)
    found = contents(source, 100)
    assert list(found) == IDS.tolist()
    np.testing.assert_array_equal(list(found.values()), VECTORS)


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_vector_files_are_read(tmp_path: Path, n: int) -> None:
    source = read(_saved(tmp_path / "x.npy", VECTORS[:n]), metric="cosine", dim=12)
    assert len(source) == len(source.rebuild()) == n
    assert list(contents(source)) == list(range(n))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        npy_format.write_array(file, VECTORS, version=version)
    assert len(contents(read(tmp_path / "x.npy", metric="l2"))) == 300


@pytest.mark.parametrize("ids", [[-1, 4], np.array([0, 2**63], np.uint64)], ids=["-1", "2**63"])
def test_ids_that_no_index_takes_are_refused(tmp_path: Path, ids: Any) -> None:
    path = _saved(tmp_path / "ids.npy", np.asarray(ids))
    source = read(_saved(tmp_path / "x.npy", VECTORS[:2]), metric="l2", ids=path)
    with pytest.raises(errors.InvalidId):
        source.rebuild()


def test_metric_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="metric"):
        read(_saved(tmp_path / "x.npy", VECTORS))


def test_dimension_is_compared_with_the_shape(tmp_path: Path) -> None:
    with pytest.raises(errors.DimensionMismatch, match="12 dimensions, not 13"):
        read(_saved(tmp_path / "x.npy", VECTORS), metric="l2", dim=13)


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros(5, np.float32), r"shape \(5,\)"),
        (np.zeros((2, 3, 4), np.float32), r"shape \(2, 3, 4\)"),
        (np.zeros((), np.float32), r"shape \(\)"),
        (np.zeros((2, 0), np.float32), r"shape \(2, 0\)"),
        (np.zeros((1, 16_385), np.float32), "dim up to 16,384"),
        (np.zeros((5, 4), np.int32), "'<i4'"),
        (np.zeros((5, 4), np.uint8), r"'\|u1'"),
        (np.zeros((5, 4), np.complex64), "'<c8'"),
        (np.zeros((5, 4), "U3"), "'<U3'"),
        (np.zeros((5, 4), bool), r"'\|b1'"),
        (np.zeros(5, [("a", "f4"), ("b", "f4")]), "records"),
        (np.asfortranarray(VECTORS), "Fortran order"),
    ],
    ids=str,
)
def test_arrays_that_are_no_vectors_are_named(tmp_path: Path, array: Any, named: str) -> None:
    with pytest.raises(errors.UnsupportedFormat, match=named):
        read(_saved(tmp_path / "x.npy", array), metric="l2")


def test_pickled_objects_are_named_and_not_loaded(tmp_path: Path) -> None:
    array = np.empty((2, 2), object)
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(errors.UnsupportedFormat, match=r"'\|O'"):
        read(tmp_path / "x.npy", metric="l2")


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.arange(299), r"\(300,\) goes with the vectors"),
        (np.arange(300).reshape(300, 1), r"\(300,\) goes with the vectors"),
        (np.arange(300.0), "'<f8'"),
    ],
    ids=["shorter", "two axes", "floats"],
)
def test_ids_that_do_not_fit_are_named(tmp_path: Path, array: Any, named: str) -> None:
    path = _saved(tmp_path / "ids.npy", array)
    with pytest.raises(errors.UnsupportedFormat, match=named):
        read(_saved(tmp_path / "x.npy", VECTORS), metric="l2", ids=path)


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    content = _saved(tmp_path / "x.npy", VECTORS[:10]).read_bytes()
    for length in [*range(6, len(content), 7), len(content) - 1]:
        (tmp_path / "cut.npy").write_bytes(content[:length])
        with pytest.raises(errors.CorruptFile):
            read(tmp_path / "cut.npy", metric="l2")
    (tmp_path / "cut.npy").write_bytes(content + b"\0")
    with pytest.raises(errors.CorruptFile, match="its parts end at byte"):
        read(tmp_path / "cut.npy", metric="l2")


def _with_header(path: Path, text: str, *, version: int = 1) -> Path:
    header = text.encode("latin-1")
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + header + bytes(96))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1%s2), }\n" % ("0" * 30),
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 12), }\n",
        "{'descr': '<f4', 'fortran_order': 7, 'shape': (2, 12), }\n",
        "{'descr': '<f4', 'shape': (2, 12), }\n",
        "{'fortran_order': False, 'shape': (2, 12), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 12), }\n",
        "__import__('os').abort()",
        "(" * 9_000,
        "",
    ],
)
def test_headers_that_describe_no_array_are_detected(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.CorruptFile):
        read(_with_header(tmp_path / "x.npy", text), metric="l2")


def test_headers_of_other_writers_are_read(tmp_path: Path) -> None:
    text = """{"shape": (2,12), "fortran_order": False, "descr": "<f4"}"""
    assert len(read(_with_header(tmp_path / "x.npy", text), metric="l2")) == 2


def test_other_versions_and_long_headers_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.UnsupportedFormat, match=r"version 9\.0"):
        read(_with_header(tmp_path / "x.npy", "{}", version=9), metric="l2")
    with pytest.raises(errors.UnsupportedFormat, match="header of 2,000,000 bytes"):
        read(_with_header(tmp_path / "x.npy", "{" + 1_999_999 * " ", version=2), metric="l2")


def test_ids_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("1\n2\n3 and so on")
    with pytest.raises(errors.UnsupportedFormat, match="no NumPy file"):
        read(_saved(tmp_path / "x.npy", VECTORS), metric="l2", ids=tmp_path / "ids")
