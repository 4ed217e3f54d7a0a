"""The settings: what QuotaLimits takes, refuses and becomes in the ledger's units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import TenantConfig
from llmspell.config import QUOTA_NAMES, QuotaLimits
from llmspell.errors import ConfigError
from llmspell.quota import Quota
from llmspell.quota.model import limits_in_units

GUIDE = {
    "max_documents": 10_000,
    "max_vectors": 1_000_000,
    "max_storage_mb": 1_024,
    "max_api_calls_per_minute": 100,
    "max_embeddings_per_day": 50_000,
}


def test_defaults_are_those_of_the_guide_and_else_unlimited() -> None:
    limits = QuotaLimits()
    for name in QUOTA_NAMES:
        assert getattr(limits, name) == GUIDE.get(name), name
    assert limits.soft == frozenset()


def test_every_quota_has_a_limit_and_a_name() -> None:
    assert [quota.limit_name for quota in Quota] == list(QUOTA_NAMES)
    assert {*QUOTA_NAMES, "soft"} == set(QuotaLimits.__dataclass_fields__)


def test_unlimited_limits_nothing() -> None:
    assert {limit.limit for limit in limits_in_units(QuotaLimits.unlimited())} == {None}


@pytest.mark.parametrize("name", QUOTA_NAMES)
@pytest.mark.parametrize("value", [-1, "10", True, 1 << 41, float("nan"), float("inf")])
def test_a_limit_out_of_range_is_a_config_error(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be"):
        QuotaLimits(**{name: value})


@pytest.mark.parametrize("name", sorted({*QUOTA_NAMES} - {"max_cost_per_month"}))
def test_what_is_counted_is_an_int(name: str) -> None:
    with pytest.raises(ConfigError, match="int"):
        QuotaLimits(**{name: 1.5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cost", "millionths"), [(0, 0), (20, 20_000_000), (0.1, 100_000), (1e6, 10**12)]
)
def test_cost_is_counted_in_millionths(cost: float, millionths: int) -> None:
    limits = {one.quota: one.limit for one in limits_in_units(QuotaLimits(max_cost_per_month=cost))}
    assert limits[Quota.COST] == millionths


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        ({"max_tokens"}, "none of"),
        ({"max_tokens_per_day"}, "unlimited"),
        ("max_vectors", "set of quota names"),
        (7, "set of quota names"),
        ({7}, "none of"),
        ([["max_vectors"]], "set of quota names"),
    ],
)
def test_soft_quotas_are_known_and_limited(soft: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QuotaLimits(soft=soft)


def test_soft_quotas_are_kept_with_the_tenant(tmp_path: Path) -> None:
    limits = QuotaLimits(max_cost_per_month=2.5, soft=frozenset({"max_cost_per_month"}))
    with llmspell.open(tmp_path) as db:
        db.create_tenant(TenantConfig(id="a", quotas=limits))
    with llmspell.open(tmp_path) as db:
        assert db.tenant("a").config.quotas == limits
