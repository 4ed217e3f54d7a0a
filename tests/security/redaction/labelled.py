"""The labelled set: texts with a secret, whose place is known, and texts without one."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmspell.security.redaction import SecretFinding, find_secrets
from tests.security.redaction.random_text import text_of

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    group: str
    text: str
    secret: str = ""  # its end, which no public prefix holds; empty in a negative

    def hidden(self, findings: list[SecretFinding]) -> bool:
        """Whether all of the secret's end is within one finding."""
        start = self.text.rindex(self.secret)
        end = start + len(self.secret)
        return any(found.start <= start and end <= found.end for found in findings)


@dataclass
class Result:
    cases: int = 0
    wrong: list[Case] = field(default_factory=list)


def positives(seed: int) -> list[Case]:
    table = tomllib.loads((HERE / "positives.toml").read_text("utf-8"))
    contexts = table.pop("contexts")
    cases = []
    for group, kinds in table.items():
        for kind, patterns in kinds.items():
            for index, pattern in enumerate(patterns):
                for at, context in enumerate(contexts[group]):
                    draw = random.Random(f"{seed} {kind} {index} {at}")
                    value = text_of(pattern, draw)
                    end = value.removesuffix("-----END RSA PRIVATE KEY-----").rstrip("\n")
                    end = end.removesuffix("\\n-----END PRIVATE KEY-----")
                    shown = value + "@db.internal/app" if kind == "connection_string" else value
                    cases.append(Case(kind, context.format(s=shown), end[-6:]))
    return cases


def negatives(seed: int) -> list[Case]:
    table = tomllib.loads((HERE / "negatives.toml").read_text("utf-8"))
    cases = [Case(group, text) for group, texts in table["text"].items() for text in texts]
    for at, block in enumerate(table["drawn"]):
        for pattern in block["values"]:
            for context in block["contexts"]:
                draw = random.Random(f"{seed} {at} {pattern} {context}")
                cases.append(Case("drawn", context.replace("{s}", text_of(pattern, draw))))
    return cases


def judge(
    seed: int, findings: Callable[[str], list[SecretFinding]] = find_secrets
) -> tuple[dict[str, Result], dict[str, Result]]:
    """By group, how many positives and negatives there are and which were judged wrongly."""
    missed: dict[str, Result] = {}
    false: dict[str, Result] = {}
    for case in positives(seed):
        result = missed.setdefault(case.group, Result())
        result.cases += 1
        if not case.hidden(findings(case.text)):
            result.wrong.append(case)
    for case in negatives(seed):
        result = false.setdefault(case.group, Result())
        result.cases += 1
        if findings(case.text):
            result.wrong.append(case)
    return missed, false
