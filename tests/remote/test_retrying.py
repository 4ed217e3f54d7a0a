"""When a request is made again: what services ask for, and how long it waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from llmspell.remote import retry_after, wait_before


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "1e9"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9", "retry-after-ms": "soon"}, 9.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 -0000"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
    ],
)
def test_what_a_service_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_is_a_number_of_seconds_from_now() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": later}) == pytest.approx(90, abs=10)


def test_a_wait_is_what_was_asked_for_and_a_random_part_of_the_doubled_base() -> None:
    for number in range(4):
        waits = [wait_before(number, retries=4, base=0.1, asked=2.0) for _ in range(200)]
        extra = [wait - 2.0 for wait in waits if wait is not None]
        assert len(extra) == 200 and min(extra) >= 0
        assert 0.05 * 2**number < max(extra) <= 0.1 * 2**number + 1e-9
    assert wait_before(4, retries=4, base=0.1) is None
    assert wait_before(0, retries=4, base=0.1, longest=1.0, asked=1.5) is None
    assert (wait_before(9, retries=20, base=1.0, longest=3.0) or 0.0) <= 3.0
