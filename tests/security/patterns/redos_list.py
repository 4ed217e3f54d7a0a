"""The pairs of ReDoS-Benchmarks: a pattern, and a text on which it explodes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.security.attack_lists import redos_list

NAME = "regexlib/2021-5-15/regexlib_only_redos_true_s_2021_05_15_10_37_44.txt"
_ATTACK = re.compile(r'AttackString:"(.*)"\+"(.*)"\*([0-9]+)\+"(.*)"$')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "b": "\b", "0": "\0"}


@dataclass(frozen=True)
class Pair:
    pattern: str
    text: str


def _plain(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _LETTERS.get(match[3], match[3])

    return _ESCAPE.sub(one, text)


def pairs() -> list[Pair]:
    """Each pattern with each of its texts."""
    found = []
    for block in redos_list(NAME).split("\n++++++++++++++++"):
        lines = block.strip("+\r\n").split("\n")
        if lines[0].startswith("time:"):
            del lines[0]
        if "RESULT-TRUE" not in lines:
            continue
        pattern = "\n".join(lines[1 : lines.index("RESULT-TRUE")])
        for line in lines:
            attack = _ATTACK.search(line)
            if attack:
                before, unit, times, after = attack.groups()
                text = _plain(before) + _plain(unit) * int(times) + _plain(after)
                found.append(Pair(pattern, text))
    return found
