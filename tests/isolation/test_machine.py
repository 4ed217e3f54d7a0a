"""Several tenants, names and processes against a dict: nothing of one is seen by another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.isolation.elsewhere import Door
from tests.isolation.rooms import Rooms

EXAMPLES = int(os.environ.get("LLMSPELL_ISOLATION_EXAMPLES", "30"))
STEPS = int(os.environ.get("LLMSPELL_ISOLATION_STEPS", "40"))


@pytest.mark.timeout(300 + EXAMPLES * STEPS)
def test_rooms_agree_with_a_dict_and_show_nothing_of_each_other(
    doors: list[Door], tmp_path: Path
) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Rooms(doors, tmp_path),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            # The steps that fail are few enough to read, and to make them fewer takes minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
