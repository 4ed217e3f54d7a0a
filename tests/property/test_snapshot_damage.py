from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell import Index, IndexParams, errors
from tests.index.vectors import clustered


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("snapshot") / "index"
    index = Index(dim=6, metric="l2", params=IndexParams(m=3, graph_threshold=0))
    index.add(np.arange(60), clustered(60, 6, 1))
    index.delete(np.arange(0, 60, 5))
    index.save(path, tag=7)
    return path.read_bytes()


DAMAGE = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _refused(path: Path, content: bytes, whole_content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    with pytest.raises((errors.CorruptFile, errors.UnsupportedFormat)):
        Index.load(path).verify()
    with pytest.raises((errors.CorruptFile, errors.UnsupportedFormat)):
        Index.load(path, mmap=False)
    # Without having been verified: the right answers, or none.
    try:
        damaged = Index.load(path)
    except (errors.CorruptFile, errors.UnsupportedFormat):
        return
    path.unlink()
    path.write_bytes(whole_content)
    whole = Index.load(path)
    for query in clustered(10, 6, 1):
        try:
            found = damaged.search(query, 3)
        except errors.CorruptFile:
            continue
        assert found.ids.tolist() == whole.search(query, 3).ids.tolist()
    with pytest.raises(errors.CorruptFile):
        damaged.delete([1])


@DAMAGE
@given(data=st.data())
def test_flipped_bits_are_always_detected(
    tmp_path: Path, content: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(content)
    bits = st.integers(0, 8 * len(content) - 1)
    for bit in data.draw(st.sets(bits, min_size=1, max_size=4)):
        damaged[bit // 8] ^= 1 << bit % 8
    _refused(tmp_path / "index", bytes(damaged), content)


@DAMAGE
@given(data=st.data())
def test_cut_and_lengthened_files_are_always_detected(
    tmp_path: Path, content: bytes, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(content) - 1))
    tail = data.draw(st.binary(max_size=40))
    if content[:length] + tail != content:
        _refused(tmp_path / "index", content[:length] + tail, content)


@DAMAGE
@given(data=st.data())
def test_overwritten_blocks_are_always_detected(
    tmp_path: Path, content: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(content) - 1))
    block = data.draw(st.binary(min_size=1, max_size=200))
    damaged = content[:start] + block + content[start + len(block) :]
    if damaged != content:
        _refused(tmp_path / "index", damaged, content)


@DAMAGE
@given(data=st.data())
def test_swapped_blocks_are_always_detected(
    tmp_path: Path, content: bytes, data: st.DataObject
) -> None:
    size = data.draw(st.sampled_from([64, 512, 4096]))
    blocks = st.integers(0, len(content) // size - 1)
    first, second = sorted(data.draw(st.tuples(blocks, blocks)))
    damaged = bytearray(content)
    damaged[first * size : (first + 1) * size] = content[second * size : (second + 1) * size]
    damaged[second * size : (second + 1) * size] = content[first * size : (first + 1) * size]
    if bytes(damaged) != content:
        _refused(tmp_path / "index", bytes(damaged), content)
