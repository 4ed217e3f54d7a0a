from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import dictionaries, report


def test_saving_of_dictionaries_is_set_beside_what_a_tenant_takes(tmp_path: Path) -> None:
    for module in ("onnxruntime", "tokenizers", "semantic_text_splitter"):
        pytest.importorskip(module, reason="pip install 'llmspell[local,rag]'")
    result = dictionaries.run(
        sizes=(256,), dictionaries=(4_096,), source_bytes=60_000, topics=20, rounds=1
    )
    assert {case["corpus"] for case in result["cases"]} == set(dictionaries.CORPORA)
    for case in result["cases"]:
        ways = case["ways"]
        assert 0 < ways["4096"]["stored_bytes"] <= ways["stored"]["stored_bytes"]
        assert ways["stored"]["stored_bytes"] < case["text_bytes"] < case["tenant_bytes"]
        assert ways["stored"]["compressed"] <= ways["shortest"]["compressed"] <= case["chunks"]
    text = report.render([result], tmp_path)[0].read_text()
    assert f"| {result['cases'][0]['chunks']:,} |" in text
    assert "of what the tenant takes on disk" in "\n".join(report.summary([result]))
