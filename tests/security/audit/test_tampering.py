"""Whatever is done to the files of a log, verifying it finds that, and says where."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.errors import AuditDamaged, InputError
from llmspell.security import Anchor, AuditLog, AuditReport, read_audit, verify_audit
from llmspell.security.audit.chain import Chain
from tests.security.audit.logs import KEY, fill, lines_of

COUNT = 800


@pytest.fixture(scope="module", params=[None, KEY], ids=["plain", "keyed"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, key: bytes | None) -> Path:
    path = tmp_path_factory.mktemp("original") / "log"
    fill(path, COUNT, key=key)
    assert verify_audit(path, key=key).is_sound
    return path


@pytest.fixture
def log(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "log"))


def segments(log: Path) -> list[Path]:
    return sorted(log.glob("*.jsonl"))


def found(report: AuditReport, *reasons: str) -> None:
    assert report.problem is not None
    assert report.problem.reason in reasons, report.problem


@pytest.mark.parametrize("seed", range(3))
def test_any_flipped_bit_is_found_at_its_record(log: Path, key: bytes | None, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        file = rng.choice(segments(log))
        raw = bytearray(file.read_bytes())
        position = rng.randrange(len(raw))
        raw[position] ^= 1 << rng.randrange(8)
        whole = file.read_bytes()
        file.write_bytes(raw)
        report = verify_audit(log, key=key)
        assert report.problem is not None, position
        assert report.problem.segment == file.name
        start = whole.rfind(b"\n", 0, position) + 1
        assert report.problem.offset == start
        assert report.records == report.problem.seq - 1 if report.problem.seq else False
        with pytest.raises(AuditDamaged):
            list(read_audit(log, key=key))
        file.write_bytes(whole)
    assert verify_audit(log, key=key).is_sound


def test_every_byte_of_a_small_log_counts(tmp_path: Path, key: bytes | None) -> None:
    fill(tmp_path / "log", 3, key=key)
    for file in [*segments(tmp_path / "log")]:
        whole = file.read_bytes()
        for position in range(len(whole)):
            raw = bytearray(whole)
            raw[position] ^= 1
            file.write_bytes(raw)
            assert not verify_audit(tmp_path / "log", key=key).is_sound, position
        file.write_bytes(whole)


def test_changed_header_is_found(log: Path, key: bytes | None) -> None:
    header = log / "header.json"
    whole = header.read_bytes()
    for position in range(len(whole)):
        raw = bytearray(whole)
        raw[position] ^= 1
        header.write_bytes(raw)
        try:
            report = verify_audit(log, key=key)
        except (AuditDamaged, ValueError):  # ConfigError is one: another key or none
            continue
        found(report, "link", "hash")


LINES = {
    "removed": lambda lines, at: lines.pop(at),
    "duplicated": lambda lines, at: lines.insert(at, lines[at]),
    "moved": lambda lines, at: lines.insert(at - 7, lines.pop(at)),
    "swapped": lambda lines, at: lines.__setitem__(slice(at, at + 2), [lines[at + 1], lines[at]]),
    "copied to another place": lambda lines, at: lines.insert(at, lines[at - 5]),
    "joined": lambda lines, at: lines.__setitem__(at, lines[at].rstrip() + b" "),
    "with a space": lambda lines, at: lines.__setitem__(at, lines[at].replace(b":", b": ", 1)),
    "with a key twice": lambda lines, at: lines.__setitem__(at, b'{"seq":1,' + lines[at][1:]),
    "with another field": lambda lines, at: lines.__setitem__(at, b'{"a":1,' + lines[at][1:]),
    "with an empty line": lambda lines, at: lines.insert(at, b"\n"),
    "with an escape": lambda lines, at: lines.__setitem__(
        at, lines[at].replace(b"tenant.update", b"\\u0074enant.update")
    ),
}


@pytest.mark.parametrize("change", LINES.values(), ids=LINES)
@pytest.mark.parametrize("at", [20, 100])
def test_changed_lines_are_found_where_they_are(
    log: Path, key: bytes | None, change: Callable[[list[bytes], int], object], at: int
) -> None:
    file = segments(log)[0]
    lines = file.read_bytes().splitlines(True)
    change(lines, at)
    file.write_bytes(b"".join(lines))
    report = verify_audit(log, key=key)
    found(report, "sequence", "malformed", "link")
    assert report.problem is not None
    assert report.problem.segment == file.name
    assert at - 7 <= report.records <= at + 1


def test_rewritten_record_without_the_key_is_found(log: Path, key: bytes | None) -> None:
    """With a new hash of its own, as anybody can compute it for a plain chain, and no more."""
    file = segments(log)[0]
    lines = file.read_bytes().splitlines(True)
    body = lines[50].rsplit(b',"hash":"', 1)[0].replace(b"tenant 50", b"tenant 51") + b"}"
    digest = Chain.make("0" * 32, None).digest(body)
    lines[50] = body[:-1] + b',"hash":"' + digest.encode() + b'"}\n'
    file.write_bytes(b"".join(lines))
    found(verify_audit(log, key=key), "link" if key is None else "hash")


def test_segments_that_are_swapped_missing_or_strange_are_found(
    log: Path, key: bytes | None
) -> None:
    first, second, *_ = files = segments(log)
    contents = [file.read_bytes() for file in files]
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    found(verify_audit(log, key=key), "sequence")
    first.write_bytes(contents[0])
    second.unlink()
    found(verify_audit(log, key=key), "segment")
    second.write_bytes(b"")
    found(verify_audit(log, key=key), "segment")
    second.write_bytes(contents[1])
    assert verify_audit(log, key=key).is_sound
    (log / f"{7:019}.jsonl").write_bytes(contents[1])
    found(verify_audit(log, key=key), "segment")


def test_segment_of_another_log_is_found(log: Path, key: bytes | None, tmp_path: Path) -> None:
    fill(tmp_path / "other", COUNT, key=key)
    last = segments(tmp_path / "other")[-1]
    segments(log)[-1].unlink()
    shutil.copy(last, log)
    report = verify_audit(log, key=key)
    found(report, "link", "segment", "sequence")


def test_end_cut_off_is_found_by_an_anchor_alone(log: Path, key: bytes | None) -> None:
    head = verify_audit(log, key=key).head
    file = segments(log)[-1]
    lines = file.read_bytes().splitlines(True)
    file.write_bytes(b"".join(lines[:-1]))
    assert verify_audit(log, key=key).is_sound
    found(verify_audit(log, str(head), key=key), "truncated")
    file.unlink()
    assert verify_audit(log, key=key).is_sound
    found(verify_audit(log, head, key=key), "truncated")


def test_cut_and_written_anew_is_found_by_an_anchor_alone(log: Path, key: bytes | None) -> None:
    head = verify_audit(log, key=key).head
    file = segments(log)[-1]
    lines = file.read_bytes().splitlines(True)
    file.write_bytes(b"".join(lines[:-1]))
    fill(log, 3, key=key)
    assert verify_audit(log, key=key).is_sound
    found(verify_audit(log, head, key=key), "anchor")


def test_log_that_grew_still_has_its_anchors(log: Path, key: bytes | None) -> None:
    anchors = [verify_audit(log, key=key).head]
    for _ in range(3):
        fill(log, 30, key=key)
        anchors.append(verify_audit(log, key=key).head)
    for anchor in anchors:
        assert verify_audit(log, anchor, key=key).is_sound
        assert Anchor.parse(f" {anchor}\n") == anchor


def test_anchor_of_an_empty_log(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path) as log:
        empty = log.head()
    assert empty.seq == 0
    assert verify_audit(tmp_path, empty).is_sound
    fill(tmp_path, 2)
    assert verify_audit(tmp_path, empty).is_sound
    found(verify_audit(tmp_path, Anchor(empty.log, 0, "0" * 64)), "anchor")


def test_anchor_of_another_log_is_refused(log: Path, key: bytes | None, tmp_path: Path) -> None:
    fill(tmp_path / "other", 3)
    found(verify_audit(log, verify_audit(tmp_path / "other").head, key=key), "anchor")


@pytest.mark.parametrize("text", ["", "1:2", "x" * 200, f"{'0' * 32}:-1:{'0' * 64}", 7, b"x"])
def test_what_is_no_anchor_is_refused(tmp_path: Path, text: object) -> None:
    fill(tmp_path, 1)
    with pytest.raises(InputError):
        verify_audit(tmp_path, text)  # type: ignore[arg-type]


def test_archived_segments_need_an_anchor(log: Path, key: bytes | None) -> None:
    lines = lines_of(log)
    first = segments(log)[0]
    kept = int(segments(log)[1].stem)
    head, before = verify_audit(log, key=key).head, None
    first.unlink()
    found(verify_audit(log, key=key), "beginning")
    assert verify_audit(log, head, key=key).is_sound
    before = Anchor(head.log, kept - 1, lines[kept - 2].rsplit(b'"', 2)[1].decode())
    report = verify_audit(log, before, key=key)
    assert (report.is_sound, report.first, report.records) == (True, kept, COUNT - kept + 1)
    found(verify_audit(log, Anchor(head.log, kept - 1, "0" * 64), key=key), "anchor")
    found(verify_audit(log, Anchor(head.log, kept - 2, before.hash), key=key), "beginning")
    # It is still appended to.
    fill(log, 1, key=key)
    assert verify_audit(log, before, key=key).head.seq == COUNT + 1


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(1, 255)),
        st.tuples(st.just("cut"), st.integers(0, 10**6), st.integers(1, 500)),
        st.tuples(st.just("insert"), st.integers(0, 10**6), st.binary(min_size=1, max_size=50)),
        st.tuples(st.just("repeat"), st.integers(0, 10**6), st.integers(1, 500)),
        st.tuples(st.just("swap"), st.integers(0, 10**6), st.integers(1, 500)),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=OPERATIONS)
def test_any_change_is_found(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, object]]
) -> None:
    path = tmp_path_factory.mktemp("log")
    fill(path, 12)
    anchor = verify_audit(path).head
    (file,) = segments(path)
    whole = file.read_bytes()
    raw = bytearray(whole)
    for what, position, more in operations:
        at = position % (len(raw) + 1)
        if what == "flip" and at < len(raw):
            raw[at] ^= int(more)  # type: ignore[call-overload]
        elif what == "cut":
            del raw[at : at + int(more)]  # type: ignore[call-overload]
        elif what == "insert":
            raw[at:at] = bytes(more)  # type: ignore[call-overload]
        elif what == "repeat":
            raw[at:at] = raw[at : at + int(more)]  # type: ignore[call-overload]
        elif what == "swap":
            size = int(more)  # type: ignore[call-overload]
            one, other = raw[at : at + size], raw[at + size : at + 2 * size]
            raw[at : at + len(one) + len(other)] = other + one
    file.write_bytes(raw)
    report = verify_audit(path, anchor)
    assert report.is_sound == (bytes(raw) == whole)


def forged(path: Path, old: bytes, new: bytes) -> None:
    """Change the last line of a log without a key, and give it the hash that fits."""
    (file,) = segments(path)
    *lines, last = file.read_bytes().splitlines(True)
    body = last.rsplit(b',"hash":"', 1)[0].replace(old, new) + b"}"
    digest = Chain.make("0" * 32, None).digest(body)
    file.write_bytes(b"".join([*lines, body[:-1] + b',"hash":"' + digest.encode() + b'"}\n']))


@pytest.mark.parametrize("kind", [rb"a.b\u001b[2J", rb"a.b\n", b"", b"a", b"a." + b"b" * 63])
def test_a_kind_that_there_cannot_be_is_no_record(tmp_path: Path, kind: bytes) -> None:
    fill(tmp_path, 2)
    forged(tmp_path, b"tenant.update", b"a.b")
    assert verify_audit(tmp_path).is_sound
    forged(tmp_path, b'"a.b"', b'"' + kind + b'"')
    report = verify_audit(tmp_path)
    assert report.problem is not None and report.records == 1
    with pytest.raises(AuditDamaged):
        list(read_audit(tmp_path))


def test_a_notice_has_no_control_characters(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path) as log:
        log.append("log.torn", subject="torn", details={"bytes": 5})
    assert "5 bytes" in verify_audit(tmp_path).notices[0]
    forged(tmp_path, b'"bytes":5', rb'"bytes":"\u001b[2J\n"')
    report = verify_audit(tmp_path)
    assert report.is_sound and report.notices[0].isprintable()


@pytest.mark.parametrize("key_id", [r'"\u00e9"', '"\\u001b[2J"', '"k"', "5", "[]", '""'])
def test_a_header_with_no_id_of_a_key_is_damaged(tmp_path: Path, key_id: str) -> None:
    fill(tmp_path, 1, key=KEY)
    header = tmp_path / "header.json"
    text = header.read_text()
    header.write_text(re.sub(r'"key":"[0-9a-f]{16}"', lambda _: f'"key":{key_id}', text))
    assert header.read_text() != text
    for key in (KEY, None):
        with pytest.raises(AuditDamaged, match="header"):
            verify_audit(tmp_path, key=key)
    with pytest.raises(AuditDamaged, match="header"):
        AuditLog.open(tmp_path, key=KEY)
