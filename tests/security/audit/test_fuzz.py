"""Readers of random bytes: they end, with a report or a named error."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import AuditDamaged, AuditFailed, ConfigError
from llmspell.security import AuditLog, read_audit, verify_audit
from llmspell.security.audit.record import MAX_LINE_BYTES, decode
from tests.security.audit.logs import fill, lines_of

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=8), inner)),
    max_leaves=10,
)
JSON_BYTES = JSON.map(lambda value: json.dumps(value).encode())
FIELDS = [
    *("seq", "time", "kind", "tenant", "subject", "outcome"),
    *("count", "until", "of", "batch", "details", "prev", "hash"),
]
LIKE_RECORDS = st.fixed_dictionaries(
    dict.fromkeys(FIELDS, JSON)
    | {"seq": st.one_of(st.integers(0, 3), JSON), "prev": st.one_of(st.just("0" * 64), JSON)}
    | {"time": st.one_of(st.just("2026-01-01T00:00:00.000000Z"), st.text(max_size=30))}
    | {"hash": st.just("0" * 64), "kind": st.just("a.b"), "subject": st.text(max_size=10)}
    | {"details": st.one_of(st.just({}), JSON), "outcome": st.just("done"), "count": st.just(1)}
).map(lambda fields: json.dumps(fields, separators=(",", ":")).encode() + b"\n")
CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.lists(LIKE_RECORDS, max_size=4).map(b"".join),
    st.just(b"[" * 8000 + b"\n"),
    st.just(b'{"a":' * 1500 + b"\n"),
    st.just(b"1" * 8000 + b"\n"),
    st.just(b"\0" * 40_000),
    st.just(b"x" * 100_000),
)


@settings(max_examples=300, deadline=None)
@given(
    header=st.one_of(
        st.none(), st.binary(max_size=200), JSON.map(lambda j: json.dumps(j).encode())
    ),
    first=CONTENTS,
    more=st.lists(CONTENTS, max_size=2),
)
def test_random_files_are_a_report_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory,
    header: bytes | None,
    first: bytes,
    more: list[bytes],
) -> None:
    path = tmp_path_factory.mktemp("log")
    fill(path, 2)
    (segment,) = path.glob("*.jsonl")
    if header is not None:
        (path / "header.json").write_bytes(header)
    segment.write_bytes(segment.read_bytes() + first)
    for number, raw in enumerate(more, 3):
        (path / f"{number:019}.jsonl").write_bytes(raw)
    with contextlib.suppress(AuditDamaged, ConfigError):
        verify_audit(path)
    with contextlib.suppress(AuditDamaged, ConfigError):
        list(read_audit(path))
    try:
        with AuditLog.open(path) as log:
            log.append("key.change", subject="x")
    except (AuditDamaged, AuditFailed, ConfigError):
        return
    assert header is None or header == (path / "header.json").read_bytes()
    assert verify_audit(path).is_sound


@settings(max_examples=500, deadline=None)
@given(raw=CONTENTS)
def test_any_bytes_are_a_record_or_none(raw: bytes) -> None:
    decoded = decode(raw)
    assert decoded is None or decoded[0].hash


def test_line_of_the_one_form_alone_is_a_record(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (line,) = lines_of(tmp_path)
    assert decode(line) is not None
    for other in (line[:-1], line + b"\n", b" " + line, line.replace(b"}\n", b"}\r\n"), b"\n", b""):
        assert decode(other) is None
    assert decode(line.replace(b"tenant 0", b"x" * MAX_LINE_BYTES)) is None
    for old, new in ((b'"seq":1,', b'"seq":1.0,'), (b'"seq":1,', b'"seq":true,'),
                     (b'"count":1', b'"count":0'), (b"Z", b"+00:00")):  # fmt: skip
        assert old in line
        assert decode(line.replace(old, new, 1)) is None
