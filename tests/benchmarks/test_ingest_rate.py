from __future__ import annotations

import pytest

from benchmarks import ingest


def test_ingest_result_gives_each_stage_and_an_idempotent_second_run() -> None:
    for module in ("onnxruntime", "tokenizers", "semantic_text_splitter"):
        pytest.importorskip(module, reason="pip install 'llmspell[local,rag]'")
    result = ingest.run(files=2, seed=1)
    assert result["documents"] == 2
    assert result["passages"] >= 2
    assert list(result["stages"]) == ["load", "split", "embed", "write"]
    assert result["stages"]["embed"]["passages_per_s"] > 0
    assert result["unchanged_again"] == 2
    assert result["settings"]["source_bytes"] > 0
