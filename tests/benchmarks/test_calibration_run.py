from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import calibration, report


def test_a_result_has_what_was_asked_for_and_what_was_reached(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(12, 16))[random.integers(12, size=3_400)]
    vectors = vectors + 0.4 * random.normal(size=vectors.shape)
    np.save(tmp_path / "base.f16.npy", vectors[:2_600].astype(np.float16))
    np.save(tmp_path / "queries.f16.npy", vectors[2_600:].astype(np.float16))
    result = calibration.run(tmp_path, quantizations=("none",), ks=(10,))
    stored, asked = result["cases"]
    assert (stored["sample"], asked["sample"]) == ("stored vectors", "queries")
    assert asked["sample_size"] >= 256
    for case in (stored, asked):
        assert case["calibration_s"] > 0
        assert set(case["reached"]) == {"0.90", "0.95", "0.98", "0.99"}
        for target, one in case["reached"].items():
            assert one["recall"] >= float(target) - 0.03  # of 400 queries
            assert one["ef_search"] is None or one["ef_search"] >= 10
    report.render([result], tmp_path)
    page = (tmp_path / "index.md").read_text()
    assert "Recall asked for, and reached" in page
    for case in result["cases"]:
        one = case["reached"]["0.95"]
        assert f"| {one['recall']:.3f} ({one['ef_search'] or 'sweep'}) |" in page
    margins = [
        100 * (one["recall"] - float(target))
        for case in result["cases"]
        for target, one in case["reached"].items()
    ]
    (line,) = report.summary([result])[2:]
    assert f"{min(margins):+.1f} at least, {max(margins):+.1f} at most" in line
