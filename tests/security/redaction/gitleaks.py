"""The cases by which gitleaks tests its rules, read from the Go sources of a checkout.

A case there is an expression: literals, concatenations, and calls that make random secrets and put
them into the assignments of many languages. This reads as much of Go as the cases use, and counts
what it can't read.
"""

from __future__ import annotations

import random
import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.security.redaction.random_text import text_of

CONFIG = "config/gitleaks.toml"
RULES = "cmd/generate/config/rules"
UTILS = "cmd/generate/config/utils"
TOKENS = re.compile(
    r'\s+|//[^\n]*|/\*.*?\*/|(?P<raw>`[^`]*`)|(?P<str>"(?:[^"\\]|\\.)*")|(?P<num>\d+)'
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)|(?P<op>:=|\.\.\.|[^\s\w])",
    re.DOTALL,
)


class Unread(Exception):
    """An expression that is beyond this reader."""


@dataclass
class Cases:
    positives: list[tuple[str, str]] = field(default_factory=list)  # rule, case
    negatives: list[tuple[str, str]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)


def sources(root: Path, folder: str) -> dict[str, str]:
    """Go files of a folder, of a checkout or a bare repository."""
    if (root / folder).is_dir():
        return {p.name: p.read_text("utf-8") for p in sorted((root / folder).glob("*.go"))}
    git = ["git", "--git-dir", str(root)]
    listed = subprocess.run(
        [*git, "ls-tree", "--name-only", "HEAD", folder + "/"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return {
        name.rpartition("/")[2]: subprocess.run(
            [*git, "show", f"HEAD:{name}"], capture_output=True, check=True
        ).stdout.decode("utf-8")
        for name in listed
        if name.endswith(".go")
    }


def other_rules(root: Path) -> dict[str, re.Pattern[str]]:
    """The patterns of all rules."""
    path = root / CONFIG
    if path.exists():
        text = path.read_text("utf-8")
    else:
        git = ["git", "--git-dir", str(root), "show", f"HEAD:{CONFIG}"]
        text = subprocess.run(git, capture_output=True, check=True).stdout.decode("utf-8")
    patterns = {}
    for rule in tomllib.loads(text)["rules"]:
        # Go says \\z, has named classes, and lets flags begin anywhere.
        regex = rule.get("regex", "").replace(r"\z", r"\Z").replace("[:alnum:]", "A-Za-z0-9")
        if regex:
            flags = re.IGNORECASE if "(?i)" in regex else 0
            patterns[rule["id"]] = re.compile(regex.replace("(?i)", ""), flags)
    return patterns


def contested(case: str, own: str, rules: dict[str, re.Pattern[str]]) -> bool:
    """Whether the pattern of another rule matches what this rule says is none of its own."""
    return any(name != own and pattern.search(case) for name, pattern in rules.items())


def tokens(text: str) -> list[tuple[str, str]]:
    return [(match.lastgroup, match.group()) for match in TOKENS.finditer(text) if match.lastgroup]


class Reader:
    """Evaluates the expressions of one function."""

    def __init__(self, samples: list[str], draw: random.Random):
        self.samples = samples
        self.draw = draw
        self.names: dict[str, Any] = {}

    def run(self, body: list[tuple[str, str]]) -> None:
        """Carry out the assignments of a function whose values can be read."""
        at = 0
        while at < len(body) - 1:
            (kind, name), (_, op) = body[at], body[at + 1]
            if kind == "name" and op in {":=", "="} and body[at - 1][1] not in {",", ".", "&"}:
                try:
                    value, at = self.expression(body, at + 2)
                    self.names[name] = value
                except (Unread, IndexError):
                    self.names[name] = None
                    at += 2
            else:
                at += 1

    def expression(self, body: list[tuple[str, str]], at: int) -> tuple[Any, int]:
        value, at = self.operand(body, at)
        while at < len(body) and body[at][1] == "+":
            right, at = self.operand(body, at + 1)
            value = value + right
        return value, at

    def operand(self, body: list[tuple[str, str]], at: int) -> tuple[Any, int]:
        kind, text = body[at]
        if kind == "raw":
            return text[1:-1], at + 1
        if kind == "str":
            return unquote(text), at + 1
        if kind == "num":
            return int(text), at + 1
        if text == "[" and body[at + 1][1] == "]":
            return self.items(body, at + 3)
        if text == "map":
            return self.items(body, at + 5)
        if kind != "name":
            raise Unread(text)
        if body[at + 1][1] == "(":
            return self.call(text, body, at + 2)
        if self.names.get(text) is None:
            raise Unread(text)
        return self.names[text], at + 1

    def items(self, body: list[tuple[str, str]], at: int) -> tuple[list[Any], int]:
        values, at = self.arguments(body, at + 1, "}")
        return values, at

    def arguments(self, body: list[tuple[str, str]], at: int, end: str) -> tuple[list[Any], int]:
        values: list[Any] = []
        while body[at][1] != end:
            value, at = self.expression(body, at)
            if body[at][1] == ":":  # of a map, whose values are the cases
                value, at = self.expression(body, at + 1)
            if body[at][1] == "...":
                values += value
                at += 1
            else:
                values.append(value)
            if body[at][1] == ",":
                at += 1
        return values, at + 1

    def call(self, name: str, body: list[tuple[str, str]], at: int) -> tuple[Any, int]:
        given, at = self.arguments(body, at, ")")
        match name, given:
            case "append", [list() as head, *rest]:
                return head + rest, at
            case "utils.GenerateSampleSecrets", [identifier, secret]:
                return [fill(sample, identifier, secret) for sample in self.samples], at
            case "utils.GenerateSampleSecret", [identifier, secret]:
                return f'{identifier}_api_token = "{secret}"', at
            case (
                ("secrets.NewSecret" | "newPlausibleSecret" | "generateSecret"),
                [str() as pattern],
            ):
                return text_of(pattern, self.draw), at
            case "secrets.NewSecretWithEntropy", [str() as pattern, *_]:
                return text_of(pattern, self.draw), at
            case (
                (
                    "utils.Hex"
                    | "utils.AlphaNumeric"
                    | "utils.Numeric"
                    | "utils.AlphaNumericExtended"
                    | "utils.AlphaNumericExtendedShort"
                    | "utils.AlphaNumericExtendedLong"
                    | "utils.Hex8_4_4_4_12"
                ),
                _,
            ):
                return of_class(name.partition(".")[2], given), at
            case "fmt.Sprintf", [str() as form, *rest]:
                return re.sub(r"%[sdv]", lambda _: str(rest.pop(0)), form), at
            case (("strings.ToUpper" | "strings.ToLower"), [text]):
                return text.upper() if name.endswith("Upper") else text.lower(), at
            case "strings.Repeat", [text, count]:
                return text * count, at
            case "b64.StdEncoding", _:
                raise Unread(name)
        raise Unread(name)


def of_class(name: str, given: list[str]) -> str:
    if name == "Hex8_4_4_4_12":
        return "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    members = {
        "Hex": "[a-f0-9]", "AlphaNumeric": "[a-z0-9]", "Numeric": "[0-9]",
        "AlphaNumericExtendedShort": "[a-z0-9_-]", "AlphaNumericExtended": "[a-z0-9=_-]",
        "AlphaNumericExtendedLong": r"[a-z0-9\/=_+-]",
    }  # fmt: skip
    return f"{members[name]}{{{given[0]}}}"


def unquote(text: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(
        r"\\(x[0-9a-fA-F]{2}|.)",
        lambda m: chr(int(m[1][1:], 16)) if len(m[1]) > 1 else escapes.get(m[1], m[1]),
        text[1:-1],
    )


def fill(sample: str, identifier: str, secret: str) -> str:
    return (
        sample.replace("{i}", identifier).replace("{I}", identifier.upper()).replace("{s}", secret)
    )


def sample_forms(utils: dict[str, str]) -> list[str]:
    text = utils["generate.go"]
    listed = text[text.index("samples := map[string]string{") :]
    listed = listed[: listed.index("\n\t}\n")]
    forms = re.findall(r'^\s*"[^"]+":\s*(`[^`]*`|"(?:[^"\\]|\\.)*"),', listed, re.MULTILINE)
    return [form[1:-1] if form[0] == "`" else unquote(form) for form in forms]


def read(root: Path, seed: int = 1) -> Cases:
    """All cases of the rules that can be read, with secrets drawn from a seed."""
    samples = sample_forms(sources(root, UTILS))
    cases = Cases()
    for name, text in sources(root, RULES).items():
        constants = Reader(samples, random.Random(seed))
        constants.run(tokens(re.split(r"(?m)^func ", text)[0]))
        for function in re.split(r"(?m)^func ", text)[1:]:
            rule = re.search(r'RuleID:\s+"([^"]+)"', function)
            called = re.search(r"utils\.Validate(?:WithPaths)?\(([^\n]*)\)\n", function)
            if called is None:
                continue
            reader = Reader(samples, random.Random(f"{seed}{name}{function[:40]}"))
            reader.names |= constants.names
            reader.run(tokens(function))
            by_path = "utils.ValidateWithPaths" in function
            given = [part.strip() for part in called.group(1).split(",")]
            for argument, found in zip(
                given[1:3], (cases.positives, cases.negatives), strict=False
            ):
                values = reader.names.get(argument)
                if by_path and found is cases.negatives:
                    continue  # what is none in one file is one in another, and text has no file
                if values is not None and all(values):
                    found += [(rule[1] if rule else name, value) for value in values]
                elif argument != "nil":
                    cases.unread.append((name, argument))
    return cases
