"""``llmspell demo`` and ``bench`` at a reduced scale, with the real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell.cli import payload
from llmspell.cli.demo.payload import DemoPayload
from llmspell.cli.exits import ExitCode

from .conforming import mismatch
from .conftest import Run, run_process

PASSAGES = 48


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


def _demo(data: Path, *arguments: str) -> Run:
    return run_process(data, "demo", "--passages", str(PASSAGES), *arguments)


@pytest.fixture(scope="module")
def first(shared: Path) -> Any:
    done = _demo(shared, "--json")
    assert done.code == 0, done.err
    return done.json


def test_first_run_embeds_and_shows_every_step(first: Any) -> None:
    assert mismatch(first, DemoPayload) is None
    assert first["first_run"] is True
    assert [corpus["tenant"] for corpus in first["corpora"]] == ["python", "llmspell"]
    assert first["corpora"][0]["documents"] == PASSAGES
    assert len(first["answers"]) == 10
    assert all(len(answer["hits"]) == 3 for answer in first["answers"])
    assert all(row["median"] > 0 for row in first["latency"])


def test_answers_come_from_the_tenant_that_was_asked(first: Any) -> None:
    for answer in first["answers"]:
        assert {hit["metadata"]["tenant"] for hit in answer["hits"]} == {answer["tenant"]}
        scores = [hit["score"] for hit in answer["hits"]]
        assert scores == sorted(scores, reverse=True)


def test_head_of_the_selection_answers_a_question_on_its_subject(first: Any) -> None:
    (answer,) = (one for one in first["answers"] if "gzip" in one["question"])
    assert answer["hits"][0]["metadata"]["module"] in {"gzip", "zlib", "lzma", "bz2"}


def test_two_quotas_refuse_with_all_their_figures(first: Any) -> None:
    level, rate = first["refusals"]
    assert (level["quota"], level["limit"], level["retry_after"]) == ("max_documents", 3, None)
    assert (rate["quota"], rate["limit"]) == ("max_api_calls_per_minute", 5)
    assert 0 < rate["retry_after"] <= 60
    assert rate["requested"] == 1


def test_neither_tenant_sees_the_other(first: Any) -> None:
    isolation = first["isolation"]
    assert isolation["hits"] == 200
    assert isolation["foreign_hits"] == 0
    assert isolation["lookups"] == 30
    assert isolation["foreign_found"] == 0


def test_second_run_starts_from_disk(first: Any, shared: Path) -> None:
    done = _demo(shared, "--json")
    assert done.code == 0, done.err
    assert done.json["first_run"] is False
    assert [corpus["embedded"] for corpus in done.json["corpora"]] == [0, 0]
    told = [(a["question"], [hit["id"] for hit in a["hits"]]) for a in done.json["answers"]]
    assert told == [(a["question"], [hit["id"] for hit in a["hits"]]) for a in first["answers"]]


def test_demo_that_was_cut_short_is_completed(first: Any, shared: Path) -> None:
    marker = shared / "demo.json"
    marks = json.loads(marker.read_text(encoding="utf-8"))
    marks["python"]["documents"] = None  # as it is while documents are being embedded
    marker.write_text(json.dumps(marks), encoding="utf-8")
    lost = first["answers"][0]["hits"][0]["metadata"]["document"]
    with llmspell.open(shared) as database:
        assert database.tenant("python").delete(lost) > 0
    corpora = run_process(shared, "demo", "--passages", str(PASSAGES), "--json").json["corpora"]
    assert [corpus["documents"] for corpus in corpora] == [PASSAGES, PASSAGES]
    assert 0 < corpora[0]["embedded"] < 10
    assert corpora[1]["embedded"] == 0


def test_shown_text_fits_80_columns_and_ends_with_commands_that_work(
    first: Any, shared: Path
) -> None:
    done = _demo(shared)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "QuotaExceeded" in done.out
    assert "nothing was embedded again" in done.out
    assert first["next"][0].startswith("llmspell search python")
    assert run_process(shared, "search", "python", "parse a date from a string").code == 0


def test_another_number_of_passages_makes_the_tenants_anew(first: Any, shared: Path) -> None:
    data = shared.parent / "other"
    assert run_process(data, "demo", "--passages", "6", "--json").code == 0
    smaller = run_process(data, "demo", "--passages", "4", "--json").json
    assert [corpus["documents"] for corpus in smaller["corpora"]] == [4, 4]


def test_tenant_of_that_name_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with llmspell.open(data) as database:
        database.create_tenant(llmspell.TenantConfig(id="python", name="Our snakes"))
    done = _demo(data)
    assert done.code == ExitCode.FAILED
    assert "isn't the demo's" in done.err
    with llmspell.open(data) as database:
        assert database.tenant("python").config.name == "Our snakes"


def test_bench_measures_the_demos_vectors(first: Any, shared: Path) -> None:
    done = run_process(shared, "bench", "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.BenchPayload) is None
    assert done.json["vectors"] + done.json["queries"] == first["corpora"][0]["passages"]
    assert done.json["recall"] > 0.9


def test_bench_reads_a_data_set_folder(shared: Path, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((330, 16)).astype(np.float16)
    np.save(tmp_path / "base.f16.npy", vectors[:300])
    assert run_process(shared, "bench", "--data-set", str(tmp_path)).code == ExitCode.USAGE
    np.save(tmp_path / "queries.f16.npy", vectors[300:])
    done = run_process(shared, "bench", "--data-set", str(tmp_path), "--json")
    assert done.code == 0, done.err
    assert (done.json["vectors"], done.json["queries"], done.json["dim"]) == (300, 30, 16)
