"""Quotas on the command line: an option for each, and which of them are soft."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmspell.cli.exits import WrongUsage

if TYPE_CHECKING:
    from llmspell import QuotaLimits

__all__ = ["CostOption", "HardOption", "LimitOption", "SoftOption", "StorageOption", "changed"]

_LIMIT = "N|unlimited"

LimitOption = Annotated[str | None, typer.Option(metavar=_LIMIT)]
StorageOption = Annotated[str | None, typer.Option(metavar=_LIMIT, help="In MiB.")]
CostOption = Annotated[
    str | None, typer.Option(metavar=_LIMIT, help="In whatever unit costs are reported in.")
]
SoftOption = Annotated[
    list[str] | None,
    typer.Option(
        "--soft", metavar="QUOTA", help="Warn and count, but refuse nothing; may be repeated."
    ),
]
HardOption = Annotated[
    list[str] | None,
    typer.Option("--hard", metavar="QUOTA", help="Refuse beyond the limit; may be repeated."),
]


def changed(
    quotas: QuotaLimits,
    given: dict[str, str | None],
    soft: list[str] | None,
    hard: list[str] | None = None,
) -> QuotaLimits:
    """``quotas`` with the limits that are given; one that becomes unlimited is soft no more.

    Args:
        quotas: what holds where nothing is given.
        given: texts by quota name; None leaves a limit as it is.
        soft, hard: quotas by name or as their options are called.

    Raises:
        WrongUsage: no limit, or a quota that there isn't.
    """
    from dataclasses import replace

    limits: dict[str, Any] = {
        name: _limit(name, text) for name, text in given.items() if text is not None
    }
    lifted = {name for name, limit in limits.items() if limit is None}
    kept = quotas.soft - lifted - _names("--hard", hard)
    return replace(quotas, **limits, soft=kept | _names("--soft", soft))


def _names(option: str, given: list[str] | None) -> set[str]:
    from llmspell.config import QUOTA_NAMES

    names = {text.removeprefix("--").replace("-", "_") for text in given or ()}
    for name in sorted(names - set(QUOTA_NAMES)):
        raise WrongUsage(f"{option} takes one of {', '.join(QUOTA_NAMES)}, got {name!r}")
    return names


def _limit(quota: str, text: str) -> float | None:
    if text == "unlimited":
        return None
    if text.isdecimal():
        return int(text)
    if quota == "max_cost_per_month" and re.fullmatch(r"\d*\.\d+", text, re.ASCII):
        return float(text)
    option = "--" + quota.replace("_", "-")
    raise WrongUsage(f"{option} takes a number or 'unlimited', got {text!r}")
