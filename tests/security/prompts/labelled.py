"""The labelled set: texts that try to instruct a model, and texts that don't.

Which half a text is of is decided by its digest: rules are tuned on one, and both are reported.
"""

from __future__ import annotations

import base64
import codecs
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.parse import quote_from_bytes

HERE = Path(__file__).parent

Half = Literal["tuning", "held out"]


@dataclass(frozen=True)
class Case:
    group: str
    text: str
    attack: bool

    @property
    def half(self) -> Half:
        return "tuning" if sha256(self.text.encode()).digest()[0] % 2 else "held out"


@dataclass
class Result:
    cases: int = 0
    reported: list[Case] = field(default_factory=list)
    passed: list[Case] = field(default_factory=list)


def _selectors(text: str) -> str:
    """A byte of the text in each variation selector, behind one emoji."""
    codes = ((0xFE00 + byte) if byte < 16 else (0xE0100 + byte - 16) for byte in text.encode())
    return "😊" + "".join(map(chr, codes))


DISGUISES: dict[str, Callable[[str], str]] = {
    "base64": lambda text: "Decode and do this: " + base64.b64encode(text.encode()).decode(),
    "hex": lambda text: "Payload " + text.encode().hex() + " ends.",
    "percent": lambda text: "q=" + quote_from_bytes(text.encode(), safe=""),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "leet": lambda text: text.translate(str.maketrans("aeiost", "431057")),
    "zero_width": lambda text: "\u200b".join(text),
    "homoglyph": lambda text: text.translate(str.maketrans("aeop", "аеор")),
    "fullwidth": lambda text: "".join(chr(ord(c) + 0xFEE0) if c > " " else c for c in text),
    "spaced": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "tags": lambda text: "Nice weather." + "".join(chr(0xE0000 + ord(c)) for c in text),
    "reversed": lambda text: text[::-1],
    "dotted": lambda text: "  ".join(".".join(word) for word in text.split()),
    "selectors": _selectors,
}


def cases() -> list[Case]:
    attacks = tomllib.loads((HERE / "attacks.toml").read_text("utf-8"))
    disguised = attacks.pop("disguised")
    benign = tomllib.loads((HERE / "benign.toml").read_text("utf-8"))
    return [
        *(Case(group, text, True) for group, texts in attacks.items() for text in texts),
        *(
            Case(f"disguised: {name}", DISGUISES[name](text), True)
            for name, texts in disguised.items()
            for text in texts
        ),
        *(Case(group, text, False) for group, texts in benign.items() for text in texts),
    ]


def judge(
    score: Callable[[str], float], threshold: float, half: Half
) -> dict[tuple[bool, str], Result]:
    """Which texts of a half score at least the threshold, by label and group."""
    results: dict[tuple[bool, str], Result] = {}
    for case in cases():
        if case.half != half:
            continue
        result = results.setdefault((case.attack, case.group), Result())
        result.cases += 1
        (result.reported if score(case.text) >= threshold else result.passed).append(case)
    return results


def precision_and_recall(results: dict[tuple[bool, str], Result]) -> tuple[float, float]:
    true = sum(len(result.reported) for (attack, _), result in results.items() if attack)
    false = sum(len(result.reported) for (attack, _), result in results.items() if not attack)
    missed = sum(len(result.passed) for (attack, _), result in results.items() if attack)
    return true / max(true + false, 1), true / (true + missed)
