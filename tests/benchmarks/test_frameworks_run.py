from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import frameworks, report
from benchmarks.toolkits.base import CASES, IMPORTS, TOOLKITS


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return frameworks.run(
        toolkits=["llmspell"], documents=50, dim=16, rounds=1, seconds=0.0, most=1
    )


def test_all_cases_are_done_and_give_what_they_are_to_give(measured: dict[str, Any]) -> None:
    found = measured["us"]["llmspell"]
    elsewhere = {"retrieval, own store", "tool, confined", "tool, confined, made", "ingest"}
    assert set(CASES) - elsewhere <= set(found) <= set(CASES)
    fresh = (measured["import_ms"]["llmspell"], measured["first_ms"]["llmspell"])
    for spread in (*found.values(), *fresh):
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]


def test_each_figure_is_in_the_table(measured: dict[str, Any], tmp_path: Path) -> None:
    report.render([measured], tmp_path)
    page = (tmp_path / "index.md").read_text()
    for case in measured["us"]["llmspell"]:
        assert CASES[case] in page
    assert "beyond that index alone" in page
    told = "\n".join(report.summary([measured]))
    for what in ("an agent is made", "a tool is made", "from a cache", "beyond its index"):
        assert what in told


def test_importing_the_command_imports_no_framework() -> None:
    code = "import sys, benchmarks.frameworks; print({'langchain', 'pydantic_ai'} & {*sys.modules})"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "set()" and set(IMPORTS) >= set(TOOLKITS)
