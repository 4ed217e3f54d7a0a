from __future__ import annotations

from benchmarks import imports


def test_import_result_names_what_was_loaded_and_how_long_it_took() -> None:
    result = imports.run(repeats=3)
    assert "llmspell" in result["third_party_packages"]
    assert "numpy" not in result["third_party_packages"]
    assert result["own_ms_by_package"]["llmspell.storage"] > 0
    for spent in result["beyond_numpy_ms"].values():
        assert 0 < spent["min"] <= spent["median"] <= spent["max"]
