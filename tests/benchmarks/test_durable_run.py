from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import durable, report
from benchmarks.stores.base import load_store, names, parse
from benchmarks.syncs import SyncTrace, count_syncs
from benchmarks.versions import versions_of

_OURS = ("llmspell:sync", "llmspell:batch", "file", "lmdb")


def run(folder: Path, stores: tuple[str, ...], **options: Any) -> dict[str, Any]:
    return durable.run(
        folder,
        stores=[parse(store) for store in stores],
        batches=((1, 25), (40, 2)),
        rounds=2,
        calls_a_thread=5,
        **options,
    )


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    return run(folder, _OURS, threads=(1, 3))


def test_each_store_holds_what_was_inserted_and_is_set_beside_the_fsync(
    measured: dict[str, Any],
) -> None:
    assert [store["error"] for store in measured["stores"]] == [None] * len(_OURS)
    for store in measured["stores"]:
        assert [(cell["size"], cell["calls"]) for cell in store["inserts"]] == [(1, 50), (40, 4)]
        for cell in store["inserts"]:
            assert cell["error"] is None
            assert 0 < cell["p50_ms"] <= cell["slowest_ms"]
            # So few calls have no 99th percentile.
            assert cell["p99_ms"] is None
    bare = measured["stores"][2]["inserts"][0]
    ours = measured["stores"][0]["inserts"][0]
    assert bare["of_fsync"] == 1.0
    assert abs(ours["of_fsync"] - ours["p50_ms"] / bare["p50_ms"]) < 0.01


def test_threads_write_to_one_tenant_at_once(measured: dict[str, Any]) -> None:
    cells = [(cell["variant"], cell["threads"], cell["calls"]) for cell in measured["concurrent"]]
    assert cells == [("sync", 1, 10), ("batch", 1, 10), ("sync", 3, 30), ("batch", 3, 30)]
    assert all(cell["error"] is None for cell in measured["concurrent"])


@pytest.mark.skipif(not SyncTrace.is_available(), reason="strace can't trace here")
def test_requests_to_sync_are_counted(measured: dict[str, Any]) -> None:
    asked = {(store["name"], store["variant"]): store for store in measured["stores"]}
    assert asked["file", "fsync"]["syncs_a_call"] == {"fsync": 1.0}
    # LMDB syncs the pages, then writes the meta page through a descriptor of its own.
    committed = {"fdatasync": 1.0, "synced write": 1.0}
    assert asked["lmdb", "put"]["syncs_a_call"] == committed
    assert asked["llmspell", "sync"]["syncs_a_call"] == committed
    # However many of its upserts a commit takes, all are committed at the end.
    assert asked["llmspell", "batch"]["syncs_a_call"].keys() == committed.keys()


def test_each_number_of_the_table_is_the_result_s(measured: dict[str, Any], tmp_path: Path) -> None:
    written = report.render([json.loads(json.dumps(measured))], tmp_path)
    page = (tmp_path / "index.md").read_text()
    for store in measured["stores"]:
        for cell in store["inserts"]:
            assert f"{cell['p50_ms']:,.3f}" in page
            assert f"{cell['records_per_s']:,.0f}" in page
    assert "40 records an insert:" in page
    assert "durable-clusters-24-light.svg" in [path.name for path in written]
    ours = measured["stores"][0]["inserts"][0]
    assert f"{ours['of_fsync']:.1f} times a bare fsync" in "\n".join(report.summary([measured]))


def test_a_store_that_does_not_sync_is_marked(measured: dict[str, Any], tmp_path: Path) -> None:
    bare = {**measured["stores"][2], "name": "lancedb", "variant": "table"}
    for counted, said in (
        ({}, "none seen: **not durable**"),
        ({"fsync": 0.1}, "**not each call**"),
    ):
        stores = [measured["stores"][0], {**bare, "syncs_a_call": counted}]
        report.render([{**measured, "stores": stores}], tmp_path)
        assert said in (tmp_path / "index.md").read_text()
        assert "lancedb" not in "\n".join(report.summary([{**measured, "stores": stores}]))


@pytest.mark.parametrize("name", sorted(set(names()) - {"file", "lmdb", "llmspell"}))
def test_a_peer_is_measured_or_says_that_it_is_not_installed(
    folder: Path, tmp_path: Path, name: str
) -> None:
    distribution = load_store(name).DISTRIBUTION
    assert distribution is not None
    result = run(folder, (name,), threads=())
    (store,) = result["stores"]
    if versions_of([distribution])[distribution] is None:
        assert f"{distribution} is not installed" in store["error"]
        assert store["inserts"] == []
    else:
        assert store["error"] is None
        assert [cell["error"] for cell in store["inserts"]] == [None, None]
        assert store["inserts"][0]["p50_ms"] > 0
    report.render([result], tmp_path)
    assert f"| {store['name']} {store['variant']}" in (tmp_path / "index.md").read_text()


def test_syncs_are_read_from_what_strace_writes() -> None:
    trace = """\
10 openat(AT_FDCWD, "/a/data.mdb", O_RDWR|O_CREAT, 0644) = 7
10 openat(AT_FDCWD, "/a/data.mdb", O_WRONLY|O_DSYNC|O_CLOEXEC) = 8
11 openat(AT_FDCWD, "/a/log", O_WRONLY|O_SYNC <unfinished ...>
10 pwrite64(7, "x", 1, 0) = 1
10 pwrite64(8, "x", 1, 0) = 1
11 <... openat resumed>) = 9
11 write(9, "x", 1 <unfinished ...>
10 fdatasync(7 <unfinished ...>
11 <... write resumed>) = 1
10 <... fdatasync resumed>) = 0
10 msync(0x7f0000000000, 4096, MS_ASYNC) = 0
10 msync(0x7f0000000000, 4096, MS_SYNC) = 0
10 close(8) = 0
10 openat(AT_FDCWD, "/a/other", O_WRONLY) = 8
10 write(8, "x", 1) = 1
"""
    assert count_syncs(trace) == {"synced write": 2, "fdatasync": 1, "msync": 1}


def test_unknown_stores_and_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="no store 'nothing'"):
        parse("nothing")
    with pytest.raises(ValueError, match="no variant 'nothing' of lmdb"):
        parse("lmdb:nothing")
