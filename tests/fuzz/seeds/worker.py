"""What a worker, or a parser of modules, may write."""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from llmspell.security.sandbox.worker.frames import ASK, CALL, ERROR, READY, RESULT, pack_frame
from tests.fuzz.targets.worker import ASKS, STAYS

EXCHANGE, SCAN, READ = range(3)


def _said(kind: int, value: Any) -> bytes:
    return pack_frame(kind, value, 1 << 20)


def _heard(*frames: bytes, flags: int = 0, most: int = 0, printed: bytes = b"") -> bytes:
    """For an exchange; what is printed is made as long as sixteenths of the rest can say."""
    answer = b"".join(frames)
    sixteenths = 8 if printed else 0
    longer = printed.ljust(len(answer), b"\n") if printed else b""
    answer = answer if not printed else answer.ljust(len(longer), b"\0")
    return bytes([EXCHANGE, flags, most, sixteenths]) + longer + answer


def _parsed(*values: Any) -> bytes:
    return bytes([SCAN]) + b"".join(_said(RESULT, value) for value in values)


def inputs() -> dict[str, bytes]:
    """Inputs by name."""
    error = ["ValueError", "no \x1b[2Jsuch thing", "Traceback"]
    nested: Any = []
    for _ in range(400):
        nested = [nested]
    deep = b"\x91" * 2_000 + b"\xc0"
    return {
        "result": _heard(_said(RESULT, {"a": [1, 2.5, None, b"x"]})),
        "result-byte-by-byte": _heard(_said(RESULT, "abc"), most=1),
        "result-and-printed": _heard(_said(RESULT, [1] * 40), printed=b"warning\x1b[0m"),
        "result-and-more": _heard(_said(RESULT, 1), b"x"),
        "result-with-extension": _heard(_said(RESULT, msgpack.ExtType(5, b"x"))),
        "result-nested": _heard(_said(RESULT, nested)),
        "nested-beyond-limit": _heard(struct.pack("<BI", RESULT, len(deep)) + deep),
        "error": _heard(_said(ERROR, error)),
        "error-of-memory": _heard(_said(ERROR, ["MemoryError", "", ""])),
        "error-that-is-none": _heard(_said(ERROR, {"a": 1})),
        "error-of-other-kinds": _heard(_said(ERROR, [1, None, [2]])),
        "error-endless": _heard(_said(ERROR, ["E", "x" * 3_000, "y" * 9_000])),
        "ready": _heard(_said(READY, None)),
        "call-from-worker": _heard(_said(CALL, ["f", [], {}])),
        "unknown-kind": _heard(_said(99, 1)),
        "asks": _heard(_said(ASK, ["connect", "a"]), _said(RESULT, 1), flags=ASKS),
        "asks-many": _heard(*[_said(ASK, i) for i in range(60)], flags=ASKS | STAYS),
        "asks-for-extension": _heard(_said(ASK, msgpack.ExtType(1, b"")), flags=ASKS),
        "asks-nobody": _heard(_said(ASK, 1)),
        "silent": _heard(flags=STAYS),
        "ended": _heard(),
        "ended-amid-head": _heard(b"\x02\x05"),
        "ended-amid-body": _heard(_said(RESULT, "abc")[:-1]),
        "length-beyond-limit": _heard(struct.pack("<BI", RESULT, 0xFFFFFFFF)),
        "time-out-of-range": _heard(b"\x02\x0f\0\0\0\xc7\x0c\xff" + b"\0" * 4 + b"\x7f" * 8),
        "unhashable-key": _heard(_said(RESULT, {})[:1] + b"\x03\0\0\0\x81\x90\x01"),
        "no-msgpack": _heard(b"\x02\x01\0\0\0\xc1"),
        "scan-names": _parsed([["helper", "pack.one"], b"c"], [["os"], b"d"], [[], b"e"]),
        "scan-package": _parsed([["pack", "pack.inner.x", "pack.bare"], b"c"], [[], b"d"]),
        "scan-odd-names": _parsed([["..", "a b", "", 7, None, "pack..one", "x" * 900], b"c"]),
        "scan-code-is-a-number": _parsed([[], 1 << 40]),
        "scan-names-are-none": _parsed([None, b"c"]),
        "scan-no-code": _parsed([["pack.one"], b""]),
        "scan-no-pair": _parsed(7),
        "scan-error": bytes([SCAN]) + _said(ERROR, "SyntaxError: \x1b[2J"),
        "scan-error-nested": bytes([SCAN]) + _said(ERROR, nested),
        "scan-length-beyond-limit": bytes([SCAN]) + struct.pack("<BI", RESULT, 0xFFFFFFFF),
        "scan-dead": bytes([SCAN]),
        "read-several": bytes([READ]) + _said(CALL, 1) + _said(READY, {"a": b"b"}),
        "read-half": bytes([READ]) + _said(CALL, "abc")[:-1],
        "read-beyond-limit": bytes([READ]) + struct.pack("<BI", CALL, 1 << 17),
    }
