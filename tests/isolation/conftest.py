from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.trace import MEMORY
from tests.isolation.elsewhere import Door, doors_to


@pytest.fixture(scope="package")
def data() -> Iterator[Path]:
    """The directory that all ways in lead to."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as base:
        yield Path(base, "data")


@pytest.fixture(scope="package")
def doors(data: Path) -> Iterator[list[Door]]:
    """The ways; each test leaves no tenants behind."""
    logger = logging.getLogger("llmspell")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with doors_to(data) as made:
            yield made
    finally:
        logger.setLevel(before)
