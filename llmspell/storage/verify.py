"""A walk over everything that a store holds at one moment, up to the first damage."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NoReturn

from llmspell.config import Metric
from llmspell.errors import StorageError
from llmspell.storage.log import Counters
from llmspell.storage.moment import Moment
from llmspell.storage.walk import Walk

__all__ = ["verify"]


def verify(moment: Moment, metric: Metric) -> Counters:
    """Walk over ids, records, vectors, documents, expiries and the log; recount the counters.

    It reads records once, and those that expire twice.

    Args:
        moment: of the store.
        metric: of the tenant, whose index must be able to take the vectors.

    Returns:
        The counters, which hold.

    Raises:
        CorruptFile: something is damaged, missing or there for nothing.
        UnsupportedFormat: a later release wrote a part of it.
    """
    Walk(lambda: nullcontext(moment), metric, _refuse).run()
    return moment.counters


def _refuse(error: StorageError) -> NoReturn:
    raise error
