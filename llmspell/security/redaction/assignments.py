"""Secrets that are known by where they stand: headers, addresses, blocks, assignments."""

from __future__ import annotations

import re
from base64 import b64decode

from llmspell.security.redaction.checks import (
    entropy,
    is_placeholder,
    is_wordy,
    looks_random,
)
from llmspell.security.redaction.named_values import is_assigned_secret, is_same_assignment
from llmspell.security.redaction.names import NAMES
from llmspell.security.redaction.rules import Rule

__all__ = ["PLACES"]

_QUOTE = r"\\?+[\"'`]"
_OPERATOR = r"(?>value[ \t]?=|\?\?=|\?=|\.=|:{1,3}=|=>|={1,3}|\|\||:|>|(?<=[\"'`]),|\+=)"
_OPENING = rf"(?>(?i:{NAMES}))"
_UNQUOTED = r"[^\s\"'`,;&<>(){}\[\]\\|$#]{4,512}+"
_VALUE = (
    r"(?>\\?+\"(?P<d>(?:[^\"\\\r\n]|\\(?![\"nr])[^\r\n]){4,4096}+)(?=\\?\")"
    r"|\\?+'(?P<s>(?:[^'\\\r\n]|\\(?!['nr])[^\r\n]){4,4096}+)(?=\\?')"
    r"|`(?P<b>[^`\r\n]{4,4096}+)`"
    rf"|(?P<u>{_UNQUOTED}))"
)
_BETWEEN = (
    rf"[\w.-]{{0,30}}+(?:{_QUOTE})?+\]?+[ \t]{{0,20}}+(?:(?:string|str|String)[ \t]{{1,4}}+)?+"
)


def _bearer(match: re.Match[str], value: str) -> bool:
    if is_placeholder(value):
        return False
    header = re.search(
        r"(?i)authorization", match.string[max(0, match.start() - 40) : match.start()]
    )
    if header is not None:
        return len(value) >= 6
    return len(value) >= 6 and not is_wordy(value) and any(c.isdigit() for c in value)


def _basic(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and entropy(value) >= 2.5 and _mixed(value)


def _mixed(value: str) -> bool:
    return any(c.isdigit() or c == "=" for c in value) or (
        value != value.lower() and not is_wordy(value)
    )


def _connection(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value)


def _cookie(match: re.Match[str], value: str) -> bool:
    return any(map(_is_cookie, value.split(";")))


def _is_cookie(part: str) -> bool:
    value = part.partition("=")[2].strip()
    return len(value) >= 6 and not is_placeholder(value)


def _same_cookies(match: re.Match[str], before: re.Match[str]) -> bool:
    """Whether the cookies that weren't ruled out before, its first and its last, are none."""
    (start, end), text, known = match.span("v"), match.string, before.end("v")
    if start >= known:
        return False
    first = text.find(";", start, end)
    # What ends where the match before had to end may have been cut off.
    rest = max(text.rfind(";", start, known) + 1, start)
    return not (
        _is_cookie(text[start : end if first < 0 else first])
        or any(map(_is_cookie, text[rest:end].split(";")))
    )


def _session(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and looks_random(value, bits=2.5, length=8)


def _pem(match: re.Match[str], value: str) -> bool:
    runs = re.findall(r"[A-Za-z0-9+/=]{24,}", value)
    return any(entropy(run) >= 3.0 for run in runs) or bool(
        match.group().endswith("-----") and len(value) >= 64 and runs
    )


def _header_key(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and not is_wordy(value) and len(set(value)) > 4


def _jwt(match: re.Match[str], value: str) -> bool:
    if ".ey" in value:
        return True
    header = value.partition(".")[0]
    try:
        decoded = b64decode(header + "=" * (-len(header) % 4), altchars=b"-_")
    except ValueError:
        return False
    return decoded.lstrip(b"{ \t\r\n").startswith(b'"')


_UNIT = r"(?:[^-]|-(?!----))"
_HEADER = (
    r"(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash):[^\r\n\\]{0,100}+(?:[\s\"'+,|]|\\[nr]){1,20}+)"
)

PLACES: tuple[Rule, ...] = (
    Rule(
        "private_key",
        ("private key",),
        r"(?>(?i:-----BEGIN[ A-Z0-9_-]{0,40}?PRIVATE KEY(?: BLOCK)?-----))",
        rf"(?P<v>(?>{_UNIT}{{40,16000}}+-----END[ A-Za-z0-9_-]{{0,60}}?-----"
        rf"|(?:[\s\"'+,>|]|\\[nr]){{0,40}}+{_HEADER}{{0,4}}+"
        r"(?:[A-Za-z0-9+/=\s\"',>|]|\\[nr]){40,8000}+))",
        _pem,
        settles=20_000,
    ),
    Rule(
        "jwt",
        ("ey",),
        r"(?<![A-Za-z0-9_])ey[A-Za-z0-9]",
        r"[A-Za-z0-9_-]{12,2000}+(?:\.ey[A-Za-z0-9/\\_-]{15,6000}+(?:\.[A-Za-z0-9/\\_-]{10,2000}+)?"
        r"|(?:\.[A-Za-z0-9_-]{0,4000}+){2,4}+)={0,2}+",
        _jwt,
    ),
    Rule("jwt", ("zxlk",), r"(?<![A-Za-z0-9_])ZXlK", "[A-Za-z0-9+/_-]{60,6000}+={0,2}+"),
    Rule(
        "bearer_token",
        ("bearer",),
        r"(?<![A-Za-z0-9])(?i:bearer)(?:[ \t]{1,4}+|%20|\+)",
        r"(?P<v>[A-Za-z0-9._~+/-]{6,4096}+={0,3}+)",
        _bearer,
    ),
    Rule(
        "basic_auth",
        ("basic",),
        r"(?<![A-Za-z0-9])(?i:basic)[ \t]{1,4}+",
        r"(?P<v>[A-Za-z0-9+/]{8,1024}+={0,3}+)",
        _basic,
    ),
    Rule(
        "authorization",
        ("authorization",),
        r"(?i:authorization)",
        r"[\"']?+[ \t]{0,4}+[:=][ \t]{0,4}+[\"']?+"
        r"(?:(?i:token|apikey|api-token|digest|negotiate|key)"
        r"[ \t=:]{1,4}+)?+(?P<v>[\w=~@.+/:-]{8,2048}+)",
        _header_key,
    ),
    Rule(
        "api_key_header",
        ("key:", "token:"),
        r"(?<![A-Za-z0-9])(?i:(?:x-(?:[a-z]{1,20}+-){0,3})?(?:api-?)?(?:key|token)):",
        r"[ \t]{0,5}+(?P<v>[\w=~@.+/-]{8,1024}+)(?=[\"'])",
        _header_key,
    ),
    Rule(
        "connection_string",
        ("://",),
        r"(?<=[A-Za-z0-9])://[^\s/?#@:\"'<>`\\]{0,80}+:",
        r"(?P<v>[^\s@\"'<>`/]{1,200}+)@(?=[A-Za-z0-9_$\[{%<.-])",
        _connection,
    ),
    Rule(
        "set_cookie",
        ("set-cookie",),
        r"(?i:set-cookie2?)[\"']?+[ \t]{0,4}+[:=]",
        r"[ \t]{0,4}+[\"']?+[\w.$%-]{1,80}+=(?P<v>[^;\s\"',]{6,4096}+)",
        _session,
    ),
    Rule(
        "cookie",
        ("cookie",),
        r"(?<![A-Za-z0-9-])(?i:cookie)[\"']?+[ \t]{0,4}+:",
        r"[ \t]{0,4}+[\"']?+(?P<v>[\w.$%-]{1,80}+=[^\r\n\"']{1,4096}+)",
        _cookie,
        repeats=_same_cookies,
    ),
    Rule(
        "signature",
        ("sig=", "signature="),
        "[?&;](?i:sig|signature|x-amz-signature|x-goog-signature)=",
        r"(?P<v>[A-Za-z0-9%_.~+/-]{16,1024}+={0,2}+)",
        _session,
    ),
    Rule(
        "session",
        ("session", "sessid", "sid="),
        r"(?i:sess(?:ion)?_?(?:id)?|sid)=",
        r"(?P<v>[A-Za-z0-9%_.+/-]{8,1024}+={0,2}+)",
        _session,
    ),
    Rule(
        "curl_user",
        ("curl",),
        r"(?<![A-Za-z0-9])curl[ \t]",
        r"(?>[^\r\n]{0,400}?[ \t](?:-u|--user)(?=[ \t=\"']))(?>=|[ \t]{0,4}+)[\"']?+[\w$@.-]{0,80}+"
        r":(?P<v>[^\s\"']{3,200}+)",
        _connection,
    ),
    Rule(
        "assignment",
        (
            "pass", "pwd", "secret", "token", "cred", "auth", "access", "private", "session",
            "salt", "key", "cookie", "adobe", "contribsys", "license", "webhook",
            "dsn", "bearer", "login",
            "cloudflare", "sourcegraph", "artifactory",
        ),
        rf"{_OPENING}{_BETWEEN}{_OPERATOR}(?>(?<=>)\s{{0,40}}+|[ \t]{{0,20}}+)",
        _VALUE,
        is_assigned_secret,
        repeats=is_same_assignment,
    ),
)  # fmt: skip
