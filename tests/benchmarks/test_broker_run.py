from __future__ import annotations

from benchmarks import broker


def test_all_sides_make_the_same_request() -> None:
    result = broker.run(calls=5, rounds=2, body=100)
    assert result["benchmark"] == "broker"
    assert set(result["us"]) == set(broker.SIDES)
    for spread in result["us"].values():
        assert 0 < spread["p50"] <= spread["p99"]
    assert result["settings"]["calls"] == 5
