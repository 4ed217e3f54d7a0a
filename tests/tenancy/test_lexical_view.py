"""The lexical index as a view of the log: whatever happens to its files, the records say it all."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage.lexical import LexicalView
from llmspell.storage.lexical.engine_errors import engine_errors
from llmspell.storage.snapshots import LEXICAL
from tests.storage.test_replacing import Watched
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.test_closing import open_files
from tests.tenancy.texts import Lines

CONFIG = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
WORDS = ("apple", "pear", "plum", "fig")


def put(tenant: Tenant, texts: dict[Any, str | None]) -> None:
    tenant.upsert(list(texts), np.ones((len(texts), 2)), texts=list(texts.values()))


def found(tenant: Tenant, query: str, **asked: Any) -> list[Any]:
    return sorted(tenant.retrieve(query, 100, mode="lexical", **asked).ids, key=str)


def removed(tenant: Tenant) -> int:
    """Texts that were removed, and that the engine holds still."""
    return tenant._enter().views.ask_words(lambda view: view._opened()._searcher.removed)


def snapshot_of(root: Path) -> Path:
    (path,) = root.glob(f"tenants/*/*/{LEXICAL}")
    return path


def workplaces(root: Path) -> list[Path]:
    return list(root.glob("tenants/*/*/lexical-*.work"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A closed database whose tenant has a snapshot of its lexical index."""
    with llmspell.open(tmp_path / "data") as database:
        tenant = database.create_tenant(CONFIG)
        put(tenant, {1: "apple", 2: "apple pear", 3: "plum"})
        assert found(tenant, "apple") == [1, 2]
        put(tenant, {4: "apple plum"})
        tenant.delete([1])
        assert found(tenant, "apple") == [2, 4]
    return tmp_path / "data"


def reopened(root: Path) -> list[Any]:
    with llmspell.open(root) as database:
        return found(database.tenant("acme"), "apple")


def test_what_was_closed_opens_from_its_snapshot(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(LexicalView, "_build")
    assert reopened(root) == [2, 4]


def test_writes_behind_the_snapshot_are_followed(root: Path) -> None:
    with llmspell.open(root) as database:
        tenant = database.tenant("acme")
        put(tenant, {2: "nothing", 5: "apple"})
        assert found(tenant, "apple") == [4, 5]
        tenant.delete(filter={})
        assert found(tenant, "apple") == []


def test_nothing_is_left_open_or_on_disk_by_a_closed_tenant(root: Path) -> None:
    with llmspell.open(root) as database:
        before = open_files(root) if os.path.isdir("/proc/self/fd") else []
        tenant = database.tenant("acme")
        assert found(tenant, "apple") == [2, 4]
        assert len(workplaces(root)) == 1
        tenant.close()
        assert workplaces(root) == []
        if before:
            assert sorted(open_files(root)) == sorted(before)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_snapshot_costs_nothing_but_time(
    root: Path, share: float, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = snapshot_of(root)
    raw = bytearray(path.read_bytes())
    at = int(share * len(raw))
    raw[at] ^= 1
    path.write_bytes(raw[:at] if damage == "cut" else raw)
    assert reopened(root) == [2, 4]
    assert "lexical.snap is not used" in caplog.text or "ahead of the log" in caplog.text
    caplog.clear()
    assert reopened(root) == [2, 4]
    assert not caplog.records


def test_a_scrub_names_a_damaged_snapshot_and_writes_it_anew(root: Path) -> None:
    path = snapshot_of(root)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with llmspell.open(root) as database:
        tenant = database.tenant("acme")
        (damage,) = tenant.scrub(repair=True).damages
        assert damage.where == LEXICAL
        assert damage.repaired
        assert tenant.scrub().damages == ()
        assert found(tenant, "apple") == [2, 4]


def test_files_of_another_engine_are_made_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmspell.storage.lexical.text_index.ANALYZER_VERSION", 99)
    assert reopened(root) == [2, 4]
    assert "is to read it" in caplog.text


def test_a_copy_has_the_snapshot_and_finds_the_same(root: Path, tmp_path: Path) -> None:
    with llmspell.open(root) as database:
        database.snapshot_tenant("acme", tmp_path / "acme.tar")
    with llmspell.open(tmp_path / "other") as other:
        tenant = other.restore_tenant(tmp_path / "acme.tar")
        assert snapshot_of(tmp_path / "other").read_bytes() == snapshot_of(root).read_bytes()
        assert found(tenant, "apple") == [2, 4]


def test_a_log_that_was_trimmed_meanwhile_is_read_from_the_records(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with llmspell.open(root) as database:
        tenant = database.tenant("acme")
        assert found(tenant, "apple") == [2, 4]
        put(tenant, {5: "apple"})
        store = tenant._enter().store
        store.trim(store.counters().sequence)
        assert found(tenant, "apple") == [2, 4, 5]


def test_an_index_of_more_removed_than_living_texts_is_made_anew(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as database:
        tenant = database.create_tenant(CONFIG)
        put(tenant, dict.fromkeys(range(600), "apple"))
        assert len(found(tenant, "apple")) == 100
        tenant.delete(list(range(290)))
        assert found(tenant, "apple")[0] == 290
        assert removed(tenant) == 290
        tenant.delete(list(range(290, 310)))
        assert found(tenant, "apple") == list(range(310, 410))
        assert removed(tenant) == 0
        put(tenant, {1_000: "apple"})
        assert found(tenant, "apple", filter={}) == list(range(310, 410))
    with llmspell.open(tmp_path / "data") as database:
        tenant = database.tenant("acme")
        tenant.delete(list(range(310, 599)))
        assert found(tenant, "apple") == [1_000, 599]
        assert removed(tenant) == 0


@pytest.mark.parametrize("longest_first", [True, False])
def test_texts_that_are_removed_move_no_score_by_more_than_a_tenth(
    tmp_path: Path, longest_first: bool
) -> None:
    texts = [page for _, page in sorted(topics.items())][:60]
    texts.sort(key=len, reverse=longest_first)
    with llmspell.open(tmp_path / "data") as database:
        tenant = database.create_tenant(CONFIG)
        put(tenant, dict(enumerate(texts)))
        assert found(tenant, "class")
        for first in (8, 16, 40):
            tenant.delete(list(range(first)))
            fresh = database.create_tenant(replace(CONFIG, id=f"fresh-{first}"))
            put(fresh, {n: texts[n] for n in range(first, len(texts))})
            for query in ("class", "the value of a name", "import module"):
                scores = [
                    {hit.id: hit.score for hit in one.retrieve(query, 100, mode="lexical")}
                    for one in (tenant, fresh)
                ]
                assert scores[0].keys() == scores[1].keys()
                for key, score in scores[1].items():
                    assert scores[0][key] == pytest.approx(score, rel=0.1)


def test_texts_of_usual_length_are_removed_without_making_the_index_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with llmspell.open(tmp_path / "data") as database:
        tenant = database.create_tenant(CONFIG)
        put(tenant, dict.fromkeys(range(100), "apple pear") | dict.fromkeys(range(100, 104), "fig"))
        assert found(tenant, "fig")
        monkeypatch.delattr(LexicalView, "_build")
        tenant.delete(list(range(60)))
        assert found(tenant, "apple") == list(range(60, 100))


def test_what_a_killed_process_left_is_removed(root: Path) -> None:
    script = """
import os, signal, sys, llmspell
database = llmspell.open(sys.argv[1])
database.tenant("acme").retrieve("apple", mode="lexical")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, str(root)], check=False)
    (left,) = workplaces(root)
    with llmspell.open(root) as database:
        assert found(database.tenant("acme"), "apple") == [2, 4]
        (ours,) = workplaces(root)
        assert ours != left
    assert workplaces(root) == []


KILLED = """
import os, signal, sys, llmspell
from llmspell.storage.lexical import snapshot_file, text_index

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

database = llmspell.open(sys.argv[1])
tenant = database.tenant("acme")
tenant.retrieve("apple", mode="lexical")
tenant.upsert(5, [1.0, 1.0], texts="apple")
where = sys.argv[2]
if where == "following":
    apply = text_index.TextIndex.apply
    def half(self, added, removed, **named):
        def some():
            yield from added
            die()
        apply(self, some(), removed, **named)
    text_index.TextIndex.apply = half
elif where == "before the sync":
    snapshot_file.os.fsync = die
elif where == "before the rename":
    snapshot_file.Path.replace = die
else:
    snapshot_file.sync_directory = die
tenant.retrieve("apple", mode="lexical")
database.close()
"""


@pytest.mark.parametrize(
    "where", ["following", "before the sync", "before the rename", "behind the rename"]
)
def test_a_kill_in_the_middle_costs_nothing_but_time(root: Path, where: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), where], check=False)
    assert done.returncode == -signal.SIGKILL
    with llmspell.open(root) as database:
        tenant = database.tenant("acme")
        assert found(tenant, "apple") == [2, 4, 5]
        put(tenant, {6: "apple"})
        assert found(tenant, "apple") == [2, 4, 5, 6]
    assert not list(root.glob("tenants/*/*/*.tmp"))


@pytest.mark.parametrize("most", [0, 4_000, 40_000])
def test_a_file_that_cannot_be_written_is_named_and_the_view_opens_anew(
    root: Path, most: int
) -> None:
    with llmspell.open(root) as database:
        tenant = database.tenant("acme")
        assert found(tenant, "apple") == [2, 4]
        # Of so many words that the engine's segment is larger than a file may be.
        put(tenant, {5: "apple " + " ".join(f"{7_919 * n:x}" for n in range(20_000))})
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            with pytest.raises(errors.StorageError, match="while writing"):
                found(tenant, "apple")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert workplaces(root) == []
        assert found(tenant, "apple") == [2, 4, 5]
        assert len(workplaces(root)) == 1


def test_a_call_that_fails_fails_for_no_other_that_waits_for_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[list[Any]] = []
    waits = threading.Event()

    with llmspell.open(root) as database:
        tenant = database.tenant("acme")
        assert found(tenant, "apple") == [2, 4]
        put(tenant, {5: "apple"})
        other = threading.Thread(target=lambda: answers.append(found(tenant, "apple")))

        def fail(view: LexicalView) -> None:
            patch.undo()
            view._lock = Watched(view._lock, waits)  # type: ignore[assignment]
            other.start()
            assert waits.wait(30)
            raise errors.StorageFull("no room")

        with monkeypatch.context() as patch:
            patch.setattr(LexicalView, "_follow", fail)
            with pytest.raises(errors.StorageFull):
                found(tenant, "apple")
        other.join()
    assert answers == [[2, 4, 5]]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    for message in ("No space left on device (os error 28)", "Quota exceeded (os error 122)"):
        with pytest.raises(errors.StorageFull), engine_errors(tmp_path, "writing"):
            raise ValueError(f"An IO error occurred: '{message}'")


OTHER = """
import json, sys, llmspell, numpy as np
with llmspell.open(sys.argv[1], lock_timeout=30.0) as db:
    acme = db.tenant("acme")
    def put(key, text):
        acme.upsert(key, [1.0, 1.0], texts=text)
    def found(query):
        return sorted(acme.retrieve(query, 100, mode="lexical").ids)
    for line in sys.stdin:
        print(json.dumps(eval(line)), flush=True)
"""


@shares_ledger
def test_writes_of_another_process_are_seen_at_once(root: Path) -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", OTHER, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other,
        llmspell.open(root, lock_timeout=30.0) as database,
    ):
        assert other.stdin is not None and other.stdout is not None
        tenant = database.tenant("acme")

        def ask(line: str) -> Any:
            print(line, file=other.stdin, flush=True)
            return json.loads(other.stdout.readline())  # type: ignore[union-attr]

        assert ask('found("apple")') == found(tenant, "apple") == [2, 4]
        for number in range(5, 10):
            ask(f'put({number}, "apple")')
            assert found(tenant, "apple") == [2, *range(4, number + 1)]
            tenant.delete([number])
            assert ask('found("apple")') == [2, *range(4, number)]
            put(tenant, {number: "apple again"})
        assert ask('found("again")') == found(tenant, "again") == list(range(5, 10))
        other.stdin.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 5), st.lists(st.sampled_from(WORDS), max_size=3)),
        st.sampled_from(["delete", "reopen", "crash", "metadata", "ingest"]),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


@settings(max_examples=8, deadline=None)
@given(steps=STEPS)
def test_words_find_what_a_model_has(scratch: Path, steps: list[Any]) -> None:
    root = scratch / str(len(list(scratch.iterdir())))
    model: dict[Any, str] = {}
    database = llmspell.open(root, texts=Lines())
    tenant = database.create_tenant(CONFIG)
    try:
        for number, step in enumerate(steps):
            key = number % 6
            if isinstance(step, tuple):
                key, text = step[0], " ".join(step[1])
                tenant.upsert(key, np.ones(16), texts=text)
                model[key] = text
            elif step == "delete":
                tenant.delete([key])
                model.pop(key, None)
            elif step == "metadata" and key in model:
                tenant.update_metadata(key, {"n": number})
            elif step == "ingest":
                tenant.ingest(llmspell.Document("doc", "\n".join(WORDS[: 1 + number % 4])))
                model = {one: text for one, text in model.items() if isinstance(one, int)}
                model |= {f"doc#{n}": word for n, word in enumerate(WORDS[: 1 + number % 4])}
            elif step == "crash":
                # What closing would have saved isn't there.
                for path in root.glob("tenants/*/*/*.snap"):
                    path.unlink()
            elif step == "reopen":
                database.close()
                database = llmspell.open(root, texts=Lines())
                tenant = database.tenant("acme")
            for word in WORDS if number % 3 == 0 or number == len(steps) - 1 else ():
                wanted = [one for one, text in model.items() if word in text.split()]
                assert found(tenant, word) == sorted(wanted, key=str)
    finally:
        database.close()
