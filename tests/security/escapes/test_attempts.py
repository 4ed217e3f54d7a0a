"""Programs that get out where nothing holds them, and don't get out of the sandbox."""

from __future__ import annotations

import os

import pytest

from tests.security.escapes.attempt import Attempt
from tests.security.escapes.running import Grounds
from tests.security.escapes.table import TABLE

_ALL = os.environ.get("LLMSPELL_ESCAPES") == "all"


def _cases() -> list[object]:
    found = []
    for attempt in TABLE:
        # The profile that has least, and the one that has most, unless all are asked for.
        ends = (attempt.on[0], attempt.on[-1])
        for profile in attempt.on if _ALL else dict.fromkeys((*ends, *attempt.flaws)):
            reason = attempt.flaws.get(profile)
            marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            found.append(
                pytest.param(attempt, profile, marks=marks, id=f"{attempt.name}-{profile}")
            )
    return found


CASES = _cases()


@pytest.mark.parametrize("attempt, profile", CASES)
def test_it_gets_nowhere(grounds: Grounds, attempt: Attempt, profile: str) -> None:
    grounds.made.add(f"{attempt.name}-{profile}")
    if attempt.machine not in ("", os.uname().machine):
        pytest.skip(f"it is for {attempt.machine}")
    plain = grounds.plainly(attempt)
    if not plain.reached:
        pytest.skip(f"not possible here anyway: {plain.told}")
    grounds.proven.add(attempt.name)
    if attempt.needs and not getattr(grounds.sandbox.host, attempt.needs):
        pytest.skip(f"held by {attempt.needs} alone, and there is none")
    held = grounds.confined(attempt, profile)
    assert not held.reached, held.told
    grounds.refused.add(attempt.name)
