"""``llmspell ingest`` and ``search`` with the real model, and what an interruption leaves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import llmspell
from llmspell.cli import payload
from llmspell.cli.exits import ExitCode
from llmspell.cli.ingest import ChunkingName
from llmspell.rag.chunking import ChunkingMethod
from llmspell.rag.embedding import CallableEmbedder

from .conforming import mismatch
from .conftest import Cli, environment

NOTES = {
    "bread.md": "# Bread\n\nLet the dough rise overnight in the fridge, then bake it hot.",
    "tyres.txt": "Pump the tyres of a road bicycle to seven bar before a long ride.",
    "garden/tomato.html": "<h1>Tomatoes</h1><p>Tomato plants want sun and a stake to climb.</p>",
}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    for name, text in NOTES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_ingested_files_are_found_by_meaning(cli: Cli, notes: Path) -> None:
    assert cli("tenant", "create", "acme").code == 0
    ingested = cli("ingest", "acme", str(notes), "--json")
    assert ingested.code == 0, ingested.err
    assert mismatch(ingested.json, payload.IngestPayload) is None
    assert (ingested.json["added"], ingested.json["unchanged"]) == (3, 0)

    found = cli("search", "acme", "how much air goes into a bike wheel", "-k", "2", "--json")
    assert found.code == 0, found.err
    assert mismatch(found.json, payload.SearchPayload) is None
    assert len(found.json["hits"]) == 2
    assert "seven bar" in found.json["hits"][0]["text"]

    shown = cli("search", "acme", "how much air goes into a bike wheel")
    best = found.json["hits"][0]
    (row,) = (line for line in shown.out.splitlines() if "tyres.txt#0" in line)
    assert row.split()[0] == f"{best['score']:.3f}"
    assert "Pump the tyres" in row
    assert max(len(line) for line in shown.out.splitlines()) <= 80

    again = cli("ingest", "acme", str(notes), "--json").json
    assert (again["added"], again["replaced"], again["unchanged"]) == (0, 0, 3)
    assert again["chunks"] == 0


def test_what_another_model_embedded_is_named_and_replaced_when_asked(
    cli: Cli, data: Path, notes: Path
) -> None:
    def letters(texts: Sequence[str], task: str) -> np.ndarray:
        return np.array([[1 + text.count(chr(97 + n % 26)) for n in range(384)] for text in texts])

    other = CallableEmbedder(letters, model_id="letters", dim=384)
    cli("tenant", "create", "acme")
    with llmspell.open(data, embedder=other) as database:
        database.tenant("acme").ingest(notes)
    for command in (["search", "acme", "a bike wheel"], ["ingest", "acme", str(notes)]):
        refused = cli(*command, "--json")
        assert refused.code == ExitCode.USAGE
        assert refused.error["type"] == "EmbedderMismatch"
        assert "3 by 'callable/letters'" in refused.error["message"]
    assert cli("search", "acme", "bicycle", "--mode", "lexical", "--json").json["hits"]
    done = cli("ingest", "acme", str(notes), "--change-model", "--json")
    assert (done.code, done.json["replaced"]) == (0, 3)
    assert cli("search", "acme", "a bike wheel", "--json").code == 0


def test_bar_counts_files_and_chunks_where_a_terminal_is(cli: Cli, notes: Path) -> None:
    cli("tenant", "create", "acme")
    done = cli("ingest", "acme", str(notes), FORCE_COLOR="1", COLUMNS="120")
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.err)
    assert "3/3 3 chunks" in told
    assert "tyres.txt" in told
    assert cli("ingest", "acme", str(notes)).err == ""


def test_documents_are_split_as_asked_and_what_is_kept_is_told(cli: Cli, tmp_path: Path) -> None:
    assert get_args(ChunkingName) == get_args(ChunkingMethod)
    note = tmp_path / "note.txt"
    sentences = [f"Sentence number {n} tells about the weather in spring." for n in range(30)]
    note.write_text(" ".join(sentences), encoding="utf-8")
    cli("tenant", "create", "acme")
    split = ("--chunking", "tokens", "--chunk-size", "64", "--chunk-overlap", "0", "--json")
    done = cli("ingest", "acme", str(note), *split)
    assert done.code == 0, done.err
    chunks = done.json["chunks"]
    assert (chunks > 3, done.json["kept"]) == (True, 0)
    note.write_text(" ".join([*sentences, "One more."]), encoding="utf-8")
    done = cli("ingest", "acme", str(note), *split)
    assert (done.json["replaced"], done.json["chunks"], done.json["kept"]) == (1, 1, chunks - 1)
    assert cli("ingest", "acme", str(note), *split).json["unchanged"] == 1
    done = cli("ingest", "acme", str(note))
    assert "1 replaced" in done.out
    done = cli("ingest", "acme", str(note), "--chunk-size", "64", "--chunk-overlap", "40")
    assert done.code == ExitCode.USAGE
    assert "overlap must be from 0 to 31" in done.err


def test_filter_and_threshold_narrow_the_hits(cli: Cli, notes: Path) -> None:
    cli("tenant", "create", "acme")
    cli("ingest", "acme", str(notes))
    everything = cli("search", "acme", "plants", "--json").json["hits"]
    assert len(everything) == 3
    best = everything[0]
    wanted = f'{{"document": "{best["metadata"]["document"]}"}}'
    only = cli("search", "acme", "plants", "--filter", wanted, "--json").json["hits"]
    assert [hit["id"] for hit in only] == [best["id"]]
    above = cli("search", "acme", "plants", "--threshold", str(best["score"] - 1e-4), "--json")
    assert [hit["id"] for hit in above.json["hits"]] == [best["id"]]
    none = cli("search", "acme", "plants", "--threshold", "0.999")
    assert (none.code, none.out.strip()) == (0, "No hits.")


def test_a_recall_can_be_asked_for_in_place_of_a_width(cli: Cli, notes: Path) -> None:
    cli("tenant", "create", "acme")
    cli("ingest", "acme", str(notes))
    asked = cli("search", "acme", "plants", "--recall", "0.95", "--json")
    assert asked.code == 0, asked.err
    assert asked.json["hits"] == cli("search", "acme", "plants", "--json").json["hits"]
    both = cli("search", "acme", "plants", "--recall", "0.95", "--ef-search", "50")
    assert both.code == ExitCode.USAGE
    assert "not both" in both.err
    assert cli("search", "acme", "plants", "--recall", "1.5").code == ExitCode.USAGE
    assert cli("search", "acme", "plants", "--recall", "0").code == ExitCode.USAGE


def test_quota_refusal_gives_code_4_and_all_its_figures(cli: Cli, notes: Path) -> None:
    cli("tenant", "create", "acme", "--max-documents", "2")
    done = cli("ingest", "acme", str(notes), "--json")
    assert done.code == ExitCode.QUOTA
    assert done.out == ""
    error = done.error
    assert (error["type"], error["quota"], error["limit"]) == ("QuotaExceeded", "max_documents", 2)
    assert error["used"] + error["requested"] > 2
    assert error["retry_after"] is None


def test_missing_source_is_wrong_usage(cli: Cli, tmp_path: Path) -> None:
    cli("tenant", "create", "acme")
    done = cli("ingest", "acme", str(tmp_path / "nowhere"))
    assert done.code == ExitCode.USAGE
    assert "nowhere" in done.err


DOCUMENTS = 448  # seven batches


def _many(folder: Path) -> Path:
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"{number:04}.txt").write_text(f"Note {number} of many.", encoding="utf-8")
    return folder


# The command, and a signal to itself behind its second commit to a tenant's room.
MIDWAY = """
import os, runpy, sys
from llmspell.storage.environment import Environment

how, commits, write = int(sys.argv.pop(1)), 0, Environment.write

def counted(self, body):
    global commits
    result = write(self, body)
    commits += "tenants" in self.path.parts
    if commits == 2:
        os.kill(os.getpid(), how)
    return result

Environment.write = counted
runpy.run_module("llmspell.cli", run_name="__main__", alter_sys=True)
"""


def _stop_midway(data: Path, folder: Path, how: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Start an ingest that gets a signal when its second batch is written, before its last.

    The tenant has been used: its first use makes more commits.
    """
    # Started in the background by a shell, this process ignores the signal, and its children would.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.run(
        [sys.executable, "-c", MIDWAY, str(int(how)), "ingest", "acme", str(folder), "--json"],
        env=environment(data),
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def test_killed_ingest_is_finished_by_the_same_command(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    folder = _many(tmp_path / "many")
    cli("tenant", "create", "acme")
    cli("search", "acme", "Note")
    assert _stop_midway(data, folder, signal.SIGKILL).returncode == -signal.SIGKILL
    done = cli("ingest", "acme", str(folder), "--json")
    assert done.code == 0, done.err
    assert done.json["added"] + done.json["unchanged"] == DOCUMENTS
    assert done.json["unchanged"] > 0
    assert done.json["added"] > 0
    usage = cli("tenant", "show", "acme", "--json").json["usage"]
    assert usage["documents"]["used"] == DOCUMENTS
    assert usage["vectors"]["used"] == DOCUMENTS
    found = cli("search", "acme", "Note 319", "-k", "1000", "--json").json["hits"]
    assert len(found) == DOCUMENTS


def test_interrupted_ingest_ends_with_130_and_says_how_to_go_on(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    folder = _many(tmp_path / "many")
    cli("tenant", "create", "acme")
    cli("search", "acme", "Note")
    stopped = _stop_midway(data, folder, signal.SIGINT)
    assert stopped.returncode == ExitCode.INTERRUPTED
    assert stopped.stdout == ""
    assert "goes on from there" in stopped.stderr
    assert len(stopped.stderr.splitlines()) == 1
    done = cli("ingest", "acme", str(folder), "--json")
    assert done.json["unchanged"] > 0
    assert cli("tenant", "show", "acme", "--json").json["usage"]["documents"]["used"] == DOCUMENTS


def test_words_are_searched_for_where_the_mode_says_so(cli: Cli, notes: Path) -> None:
    cli("tenant", "create", "acme")
    cli("ingest", "acme", str(notes))
    words = cli("search", "acme", "bar", "--mode", "lexical", "--json")
    assert words.code == 0, words.err
    assert mismatch(words.json, payload.SearchPayload) is None
    assert [hit["metadata"]["document"].endswith("tyres.txt") for hit in words.json["hits"]] == [
        True
    ]
    assert words.json["hits"][0]["why"].endswith("has bar")
    both = cli("search", "acme", "bar", "--mode", "hybrid", "--json").json
    assert (both["mode"], len(both["hits"])) == ("hybrid", 3)
    assert cli("search", "acme", "bar", "--mode", "sparse").code == ExitCode.USAGE
