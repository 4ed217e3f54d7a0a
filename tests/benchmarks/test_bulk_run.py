from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bulk, report


@pytest.mark.parametrize("sample_seconds", [0.05, 3600.0])
def test_killed_ingest_ends_with_the_content_of_one_that_was_not(
    tmp_path: Path, sample_seconds: float
) -> None:
    for module in ("tokenizers", "semantic_text_splitter"):
        pytest.importorskip(module, reason="pip install 'llmspell[local,rag]'")
    result = bulk.run(0.001, scratch=tmp_path, sample_seconds=sample_seconds)
    killed, resumed = result["killed"], result["resumed"]
    assert 0 < killed["files"] < result["files"]
    assert resumed["unchanged"] > 0 < resumed["added"]
    assert resumed["unchanged"] + resumed["added"] == result["whole"]["added"]
    assert result["whole"]["content"]["records"] > 0
    assert result["is_same"]
    assert killed["samples"] and resumed["samples"]
    assert 0 < resumed["guard_peak_bytes"] <= result["settings"]["max_bytes"]
    table = "\n".join(report.render([result], tmp_path)[0].read_text().splitlines())
    assert f"Killed after {killed['files']:,} of {result['files']:,} files." in table
    assert len(report.summary([result])) == 3
