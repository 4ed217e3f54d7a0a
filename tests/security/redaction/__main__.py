"""Print precision and recall on the labelled set, and on gitleaks' cases where they are at hand.

``python -m tests.security.redaction [SEED ...]``; LLMSPELL_GITLEAKS names a checkout of
github.com/gitleaks/gitleaks, or its bare repository.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llmspell.security.redaction import find_secrets
from tests.security.redaction.gitleaks import contested, other_rules, read
from tests.security.redaction.labelled import Result, judge


def table(title: str, results: dict[str, Result]) -> str:
    cases = sum(result.cases for result in results.values())
    wrong = sum(len(result.wrong) for result in results.values())
    lines = [f"{title}: {wrong} of {cases} ({wrong / cases:.2%}) wrong"]
    for name, result in sorted(results.items()):
        lines.append(f"  {name:24} {len(result.wrong):4} of {result.cases}")
    return "\n".join(lines)


def main(seeds: list[int]) -> None:
    for seed in seeds:
        missed, false = judge(seed)
        print(f"seed {seed}")
        print(table("secrets missed", missed))
        print(table("other text redacted", false))
        root = os.environ.get("LLMSPELL_GITLEAKS")
        if root:
            cases, rules = read(Path(root), seed), other_rules(Path(root))
            hit = sum(bool(find_secrets(case)) for _, case in cases.positives)
            print(f"gitleaks: {hit} of {len(cases.positives)} true positives redacted")
            for title, apart in (("all", False), ("without those that other rules match", True)):
                kept = [
                    case for rule, case in cases.negatives
                    if not (apart and contested(case, rule, rules))
                ]  # fmt: skip
                false_hits = sum(bool(find_secrets(case)) for case in kept)
                print(f"gitleaks, {title}: {false_hits} of {len(kept)} false positives redacted")
            print(f"gitleaks, functions not read: {cases.unread}")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [1])
