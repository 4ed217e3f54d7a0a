"""``llmspell index``: importing files of other libraries, and what a snapshot holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from llmspell import Index, IndexParams
from llmspell.cli import payload
from llmspell.cli.exits import ExitCode
from tests.index.migrate.writers import faiss, faiss_file, hnswlib_file, usearch_file
from tests.index.vectors import clustered

from .conforming import mismatch
from .conftest import Cli, run_here

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "migrate.md"
N, DIM = 2_500, 12
IDS = np.arange(N) * 7 + 3
VECTORS = clustered(N, DIM, 1)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """The arguments that importing a file of each library takes."""
    index = faiss.IndexHNSWFlat(DIM, 8)
    mapped = faiss.IndexIDMap2(index)
    mapped.add_with_ids(VECTORS, IDS)
    faiss_file(tmp_path / "faiss", mapped)
    hnswlib_file(tmp_path / "hnswlib", IDS, VECTORS, deleted=[3])
    usearch_file(tmp_path / "usearch", IDS, VECTORS, dtype="f16", deleted=[3])
    np.save(tmp_path / "npy", VECTORS)
    np.save(tmp_path / "ids.npy", IDS)
    return {
        "hnswlib": (str(tmp_path / "hnswlib"), "--dim", str(DIM), "--metric", "l2"),
        "faiss": (str(tmp_path / "faiss"),),
        "usearch": (str(tmp_path / "usearch"),),
        "npy": (
            *(str(tmp_path / "npy.npy"), "--metric", "l2"),
            *("--ids", str(tmp_path / "ids.npy")),
        ),
    }


@pytest.mark.parametrize("name", ["hnswlib", "faiss", "usearch", "npy"])
def test_imported_file_is_described_compared_and_saved(
    cli: Cli, tmp_path: Path, files: dict[str, tuple[str, ...]], name: str
) -> None:
    target = tmp_path / "index.snap"
    arguments = ("index", "import", *files[name], "--output", str(target))
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.ImportPayload) is None
    deleted = name in ("hnswlib", "usearch")
    dtype = "float16" if name == "usearch" else "float32"
    assert done.json["format"] == name
    assert (done.json["vectors"], done.json["deleted"]) == (N - deleted, deleted)
    assert (done.json["file_dtype"], done.json["dtype"]) == (dtype, dtype)
    assert (done.json["metric"], done.json["k"], done.json["queries"]) == ("l2", 10, 100)
    assert done.json["recall"] > 0.97
    assert done.json["bytes"] == target.stat().st_size
    index = Index.load(target)
    assert index.search(VECTORS[5], 1).ids.tolist() == [38]
    assert (3 in index) is not deleted

    shown = cli(*arguments)
    assert shown.code == 0, shown.err
    assert f"{N - deleted:,} vectors of 12 dimensions, l2" in shown.out
    assert re.search(r"recall@10, 100 queries +(0\.9[0-9]{3}|1\.0000)", shown.out)
    assert max(len(line) for line in shown.out.splitlines()) <= 80


def test_preset_and_dtype_are_those_asked_for(
    cli: Cli, tmp_path: Path, files: dict[str, tuple[str, ...]]
) -> None:
    target = tmp_path / "index.snap"
    options = ("--dtype", "int8", "--preset", "memory_optimized", "--queries", "20")
    done = cli("index", "import", *files["faiss"], "-o", str(target), *options, "--json")
    assert (done.json["dtype"], done.json["queries"]) == ("int8", 20)
    assert Index.load(target).params == IndexParams.memory_optimized()


def test_empty_file_gives_an_empty_snapshot(cli: Cli, tmp_path: Path) -> None:
    faiss_file(tmp_path / "file", faiss.IndexFlatIP(3))
    target = tmp_path / "index.snap"
    arguments = ("index", "import", str(tmp_path / "file"), "-o", str(target))
    done = cli(*arguments, "--json")
    assert mismatch(done.json, payload.ImportPayload) is None
    assert (done.json["vectors"], done.json["queries"], done.json["recall"]) == (0, 0, None)
    assert "nothing to compare" in cli(*arguments).out
    assert len(Index.load(target)) == 0


def test_arguments_that_are_missing_or_wrong_are_wrong_usage(
    cli: Cli, tmp_path: Path, files: dict[str, tuple[str, ...]]
) -> None:
    target = str(tmp_path / "index.snap")
    path = {name: arguments[0] for name, arguments in files.items()}
    for arguments, said in (
        ((path["hnswlib"], "-o", target), "say dim=12"),
        ((path["hnswlib"], "-o", target, "--dim", "13", "--metric", "l2"), "dim=12"),
        ((path["npy"], "-o", target), "metric"),
        ((path["faiss"], "-o", target, "--metric", "ip"), "metric l2, not ip"),
        ((path["faiss"], "-o", target, "--ids", path["npy"]), "ids of its own"),
        ((path["faiss"], "-o", target, "--format", "annoy"), "'--format'"),
        ((path["faiss"],), "Missing option '--output'"),
        ((path["faiss"], "-o", path["faiss"]), "is a file that is read"),
        ((path["faiss"], "-o", str(tmp_path / "none" / "index.snap")), "no directory"),
        ((str(tmp_path / "none"), "-o", target), "does not exist"),
    ):
        done = cli("index", "import", *arguments)
        assert done.code == ExitCode.USAGE, done.err
        assert said in done.err
        assert len(done.err.splitlines()) == 1
    assert not Path(target).exists()


def test_damaged_and_unknown_files_are_storage_errors(
    cli: Cli, tmp_path: Path, files: dict[str, tuple[str, ...]]
) -> None:
    path = Path(files["faiss"][0])
    path.write_bytes(path.read_bytes()[:-1])
    target = str(tmp_path / "index.snap")
    done = cli("index", "import", str(path), "-o", target, "--json")
    assert done.code == ExitCode.STORAGE
    assert done.error["type"] == "CorruptFile"
    path.write_bytes(b"Dear all")
    done = cli("index", "import", str(path), "-o", target, "--json")
    assert done.code == ExitCode.STORAGE
    assert done.error["type"] == "UnsupportedFormat"
    assert not Path(target).exists()


def test_interrupted_import_writes_nothing(
    cli: Cli,
    tmp_path: Path,
    files: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Index, "add", stop)
    done = cli("index", "import", *files["faiss"], "-o", str(tmp_path / "index.snap"))
    assert done.code == ExitCode.INTERRUPTED
    assert "no snapshot was written" in done.err
    assert not (tmp_path / "index.snap").exists()


def test_info_says_what_a_snapshot_holds(cli: Cli, tmp_path: Path) -> None:
    index = Index(dim=DIM, metric="l2", dtype="float16", params=IndexParams(m=5, seed=9))
    index.add(IDS, VECTORS)
    index.delete(IDS[:3])
    index.save(tmp_path / "index", tag=2**64 - 1)
    done = cli("index", "info", str(tmp_path / "index"), "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.SnapshotPayload) is None
    assert (done.json["vectors"], done.json["dim"], done.json["metric"]) == (N - 3, DIM, "l2")
    assert (done.json["dtype"], done.json["tag"]) == ("float16", 2**64 - 1)
    assert (done.json["params"]["m"], done.json["params"]["seed"]) == (5, 9)
    assert done.json["stats"]["live"] == N - 3
    shown = cli("index", "info", str(tmp_path / "index"))
    assert f"{N - 3:,} vectors of 12 dimensions, l2, float16" in shown.out
    assert max(len(line) for line in shown.out.splitlines()) <= 80


def test_info_of_what_is_no_snapshot_is_a_storage_error(cli: Cli, tmp_path: Path) -> None:
    index = Index(dim=DIM)
    index.add(IDS, VECTORS)
    index.save(tmp_path / "damaged")
    content = bytearray((tmp_path / "damaged").read_bytes())
    content[content.index(index.get(IDS[:1]).tobytes())] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    done = cli("index", "info", str(tmp_path / "damaged"))
    assert done.code == ExitCode.STORAGE and "checksum" in done.err
    (tmp_path / "index").write_text("Dear all")
    assert cli("index", "info", str(tmp_path / "index")).code == ExitCode.STORAGE
    assert cli("index", "info", str(tmp_path / "none")).code == ExitCode.USAGE


def test_commands_of_the_page_work(
    tmp_path: Path, files: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown_as = {"hnswlib": "hnsw.bin", "faiss": "index.faiss", "usearch": "u.usearch"}
    for name, shown in shown_as.items():
        (tmp_path / shown).write_bytes(Path(files[name][0]).read_bytes())
    (tmp_path / "npy.npy").rename("vectors.npy")
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", "")
    lines = re.findall(r"^\$ llmspell (index .*)$", text, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        done = run_here(tmp_path / "data", *shlex.split(line.replace("--dim 384", f"--dim {DIM}")))
        assert done.code == 0, (line, done.err)
