"""Files of other libraries with bytes changed: a named error, or the data of the rest.

These formats have no checksums: a changed byte of a vector is a changed vector. What must hold is
that nothing crashes, that no more than what was changed differs, and that a size never misleads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.index.migrate import ForeignFile, Format, read
from tests.index.migrate.writers import faiss, faiss_file, hnswlib_file, usearch_file
from tests.index.vectors import clustered

N, DIM = 40, 6
IDS = np.arange(N) * 7 + 3
VECTORS = clustered(N, DIM, 1)


@dataclass(frozen=True)
class Sample:
    """A whole file, and those of its bytes that nothing else in it could contradict."""

    content: bytes
    open: Callable[[Path], ForeignFile]
    trusted: frozenset[int]


def _opening(format: Format, **arguments: Any) -> Callable[[Path], ForeignFile]:
    return lambda path: read(path, format=format, **arguments)


def _hnswlib(path: Path) -> Sample:
    hnswlib_file(path, IDS, VECTORS, deleted=IDS[:3].tolist())
    return Sample(path.read_bytes(), _opening("hnswlib", dim=DIM, metric="l2"), frozenset())


def _faiss(path: Path, inner: Any) -> Sample:
    index = faiss.IndexIDMap2(inner)
    index.add_with_ids(VECTORS, IDS)
    return Sample(faiss_file(path, index).read_bytes(), _opening("faiss"), frozenset())


def _usearch(path: Path, dtype: str) -> Sample:
    usearch_file(path, IDS, VECTORS, dtype=dtype, deleted=IDS[:3].tolist())
    content = path.read_bytes()
    # The metric, and the type: of two that are equally wide either could be meant.
    kinds = content.index(b"usearch") + 13
    return Sample(content, _opening("usearch"), frozenset({kinds, kinds + 1}))


def _npy(path: Path) -> Sample:
    with path.open("wb") as file:
        np.save(file, VECTORS)
    content = path.read_bytes()
    header = frozenset(range(len(content) - VECTORS.nbytes))
    return Sample(content, _opening("npy", metric="l2"), header)


MAKERS: dict[str, Callable[[Path], Sample]] = {
    "hnswlib": _hnswlib,
    "faiss flat": lambda path: _faiss(path, faiss.IndexFlatL2(DIM)),
    "faiss graph": lambda path: _faiss(path, faiss.IndexHNSWFlat(DIM, 4)),
    "usearch f32": lambda path: _usearch(path, "f32"),
    "usearch f16": lambda path: _usearch(path, "f16"),
    "npy": _npy,
}


@pytest.fixture(scope="module", params=MAKERS)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return MAKERS[request.param](tmp_path_factory.mktemp("migrate") / "file")


DAMAGE = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMED = (errors.CorruptFile, errors.UnsupportedFormat, errors.InvalidId)
REFUSED = (errors.NonFiniteVector, errors.ZeroVector, errors.DuplicateId)


def _elements(source: ForeignFile) -> list[bytes]:
    found = []
    for ids, vectors in source.batches(16):
        assert vectors.shape == (len(ids), source.description.dim)
        found += [bytes(id) + bytes(row) for id, row in zip(ids[:, None], vectors, strict=True)]
    assert len(found) == len(source)
    return found


@DAMAGE
@given(data=st.data())
def test_changed_bytes_are_refused_or_change_their_element_alone(
    tmp_path: Path, sample: Sample, data: st.DataObject
) -> None:
    (tmp_path / "file").write_bytes(sample.content)
    whole = set(_elements(sample.open(tmp_path / "file")))
    damaged = bytearray(sample.content)
    places = st.integers(0, len(damaged) - 1)
    changed = data.draw(st.sets(places, min_size=1, max_size=3))
    for at in changed:
        damaged[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "file").write_bytes(damaged)
    try:
        source = sample.open(tmp_path / "file")
        found = _elements(source)
    except NAMED:
        return
    if not changed & sample.trusted:
        assert len(whole - set(found)) <= len(changed)
        assert len(set(found) - whole) <= len(changed)
    with contextlib.suppress(REFUSED):
        assert len(source.rebuild(threads=1)) == len(source)


@DAMAGE
@given(data=st.data())
def test_cut_and_lengthened_files_are_always_refused(
    tmp_path: Path, sample: Sample, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(sample.content) - 1))
    tail = data.draw(st.binary(max_size=40))
    content = sample.content[:length] + tail
    if len(content) == len(sample.content):
        return
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NAMED):
        sample.open(tmp_path / "file")


@DAMAGE
@given(data=st.data())
def test_fields_of_any_value_are_refused_or_harmless(
    tmp_path: Path, sample: Sample, data: st.DataObject
) -> None:
    """A whole number of 2, 4 or 8 bytes where any may stand: sizes near every limit."""
    damaged = bytearray(sample.content)
    width = data.draw(st.sampled_from([2, 4, 8]))
    at = data.draw(st.integers(0, len(damaged) - width))
    edge = st.sampled_from([0, 2 ** (8 * width - 1), 2 ** (8 * width) - 1])
    value = data.draw(edge | st.integers(0, 2 ** (8 * width) - 1))
    damaged[at : at + width] = value.to_bytes(width, "little")
    (tmp_path / "file").write_bytes(damaged)
    with contextlib.suppress(NAMED):
        _elements(sample.open(tmp_path / "file"))


@settings(DAMAGE, max_examples=500)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    for opening in (
        _opening("hnswlib", dim=DIM, metric="l2"),
        _opening("faiss"),
        _opening("usearch"),
        _opening("npy", metric="l2"),
    ):
        with pytest.raises((*NAMED, errors.DimensionMismatch)):
            opening(tmp_path / "file")
