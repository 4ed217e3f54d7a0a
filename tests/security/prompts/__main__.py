"""Print precision and recall of the detector on the labelled set, by half and by group.

``python -m tests.security.prompts [THRESHOLD] [--wrong]``: with ``--wrong`` also the texts of the
tuning half that were judged wrongly. Those of the other half are never shown: rules made for
them would make the figures worthless.
"""

from __future__ import annotations

import sys

from llmspell.security import find_injection
from tests.security.prompts.labelled import judge, precision_and_recall


def main(arguments: list[str]) -> None:
    threshold = next((float(word) for word in arguments if not word.startswith("--")), 0.5)
    for half in ("tuning", "held out"):
        results = judge(lambda text: find_injection(text).score, threshold, half)  # type: ignore[arg-type]
        precision, recall = precision_and_recall(results)
        print(f"{half}, threshold {threshold}: precision {precision:.3f}, recall {recall:.3f}")
        for (attack, group), result in sorted(results.items()):
            kind = "attacks" if attack else "benign"
            print(f"  {kind:8} {group:24} {len(result.reported):3} of {result.cases:3} reported")
            if "--wrong" in arguments and half == "tuning":
                for case in result.passed if attack else result.reported:
                    report = find_injection(case.text)
                    signs = [(f.rule, f.weight) for f in report.findings]
                    print(f"      {report.score} {case.text[:110]!r} {signs}")


if __name__ == "__main__":
    main(sys.argv[1:])
