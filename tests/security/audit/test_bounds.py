"""What gets into a record: no secret, no control character, and no more than a line holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.security import AuditLog, Secret, verify_audit
from llmspell.security.audit import Event
from llmspell.security.audit.record import MAX_LINE_BYTES
from tests.security.audit.logs import lines_of

TOKEN = "ghp_" + "a8Kq2ZxW9LmN4pRt7VbC3dEf6GhJ5sUy1TQo"


@pytest.mark.parametrize(
    "details",
    [
        {"header": f"Authorization: Bearer {TOKEN}"},
        {"password": "correct-horse-7"},
        {"request": {"headers": {"api_key": "x9Fq2LmZ7RtKp4Wd"}}},
        {"arguments": ["--token", TOKEN]},
        {"key": Secret("correct-horse-7")},
        {TOKEN: 1},
        {"raw": TOKEN.encode()},
        {"list": [{"a": TOKEN}, [TOKEN]]},
        {"long": "x " * 10_000 + TOKEN},
        {"cut": "x" * (4096 - 12) + " " + TOKEN},
        {"password": "Zq7" * 3000},
        {"error": ValueError(f"no access with {TOKEN}")},
    ],
)
def test_no_secret_gets_in(tmp_path: Path, details: dict[Any, Any]) -> None:
    with AuditLog.open(tmp_path, count_interval=0) as log:
        log.append("tool.run", subject=f"curl -H 'Bearer {TOKEN}'", details=details)
    (line,) = lines_of(tmp_path)
    for secret in (TOKEN[:12], "correct-horse", "Zq7Zq7", "x9Fq2"):
        assert secret.encode() not in line


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers().map(lambda n: 10 ** (n % 10_000)),
    st.floats(),
    st.text(max_size=50),
    st.text(min_size=600, max_size=900),
    st.binary(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=80), inner, max_size=6)
    ),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(
    subject=st.one_of(st.text(max_size=600), st.text(min_size=1).map(lambda t: t * 3000)),
    tenant=st.one_of(st.none(), st.text(min_size=1, max_size=128)),
    details=st.dictionaries(st.text(max_size=80), VALUES, max_size=40),
)
def test_any_event_is_one_line_of_printable_ascii(
    tmp_path_factory: pytest.TempPathFactory,
    subject: str,
    tenant: str | None,
    details: dict[str, Any],
) -> None:
    path = tmp_path_factory.mktemp("log")
    with AuditLog.open(path) as log:
        record = log.append("tool.run", subject=subject, tenant=tenant, details=details)
        assert list(log.records()) == [record]
    (line,) = lines_of(path)
    assert len(line) <= MAX_LINE_BYTES
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert verify_audit(path).is_sound


def test_what_is_cut_says_so(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path) as log:
        record = log.append(
            "tenant.update",
            subject="\N{PILE OF POO}" * 100,
            details={f"n{n:02}": "word " * 200 for n in range(40)},
        )
    assert record is not None
    assert record.subject.endswith("[cut]")
    assert record.details["[cut]"] is True
    assert record.details["n00"].endswith("[cut]")  # type: ignore[union-attr]
    assert len(json.dumps(dict(record.details))) < 3200


def test_a_huge_text_takes_no_time_and_no_room() -> None:
    event = Event("tool.run", "a" * 50_000_000, "denied", None, {"x": "b" * 50_000_000})
    assert len(event.clean_subject()) <= 512
    assert len(str(event.clean_details()["x"])) <= 512
