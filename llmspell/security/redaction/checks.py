"""Whether a value that stands where a secret may stand looks like one."""

from __future__ import annotations

import math
import re
import zlib
from hashlib import blake2b
from itertools import pairwise
from operator import add

__all__ = [
    "entropy",
    "has_crc",
    "is_code",
    "is_identity",
    "is_placeholder",
    "is_published",
    "is_wordy",
    "looks_random",
]

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# BLAKE2b, 8 bytes, of keys that vendors publish in their own documents and clients, without their
# public prefix: Firebase samples, and the search key of a registry's site.
_DIGESTS = (
    "d009870af8c9cb3f 6054009c7caa649e 1fe7911e673e8ee3 78b1679b5231b2dc 3e6a8bbbd5af33fe "
    "af0f0f7fd3490719 597fac8680ee0120 4415b38fe1c760ff 837fc3859511c07c d9c283d1669ce690 "
    "3d9fc1cf28105c0e a43bf41150dcf729 d5bce6ff8d25bbce b4d1d6707468589f b61ef0f205b1b4ed "
    "7402800eb1839e20 22180fadb1f84975 fcc6fb7b74845cb3 3686b39eb09d8f1e c8124856cec20160"
)
_PUBLISHED = frozenset(_DIGESTS.split())

# The commonest pairs of letters of English text and of names in code. Words
# are made of them, random letters half at most.
_PAIRS = (
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le "
    "ve co me de hi ri ro ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec "
    "pr no ct us ac ot il tr ly nc et ut ss so rs un lo wa ge ie wh ee wi em ad ol rt po we na "
    "ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi pl ig tu ev ld ry mp fe bl ab "
    "gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do uc bu ei ov by rm ep tt oc fa "
    "ef cu rn sc gi da yo cr cl du ga qu ue ff ba ey ls va um pp ua up lu go ht ru ug ds lt pi "
    "rc rr eg au ck ew mu br bi pt ak pu ui rg ib tl ny ki rk ys ob mm fu ph og ms ye ud mb ip "
    "ub oi rl gu dr hr cc tw ft wn nu af hu nn eo vo rv nf xp gn sm fl iz ok nl my gl aw ju oa "
    "eq sy sl ps jo lf nv je nk kn gs dy hy ze ks xt bs ik dd pc"
)
_BIGRAMS = frozenset(_PAIRS.split())

_PLACEHOLDER = re.compile(
    r"""(?ix)
    ^(?:
      [*x.•#_\-=?0]+                                        # masks
    | [<{\[($].*|%[(sdr{].*     # <token>, {token}, ${TOKEN}, %s, $(cmd)
    | .*(?:\$\{|\{\{|<[a-z_ -]{1,40}>).*                    # a template within
    | none|null|nil|true|false|undefined|n/?a|empty|unset|todo|tbd|redacted|\[redacted.*|hidden
    | (?:my|your|the|a|an|some|insert|enter|add|put|use|test|fake|dummy|sample|example|default)?
      [-_ .]?(?:super[-_ ]?)?
      (?:api|app|access|auth|client|user|db|database|root|admin|bot|secret|private|new|old)?[-_ ]?
      (?:api)?[-_ ]?
      (?:key|token|secret|password|passwd|passphrase|pass|pwd|value|credentials?|string|test|foo|bar)
      [-_ ]?(?:here|goes[-_ ]?here|id|value)?
    | (?:your|insert|enter|replace|change)[-_ ].*
    | .*[-_](?:goes[-_])?here
    | change[-_]?(?:me|it|this)|replace[-_]?(?:me|this)
    )$"""
)
_MARKS = re.compile(
    r"(?i)xxxxx|\*\*\*|\#\#\#\#|\.\.\.|example|placeholder|dummy|redacted|changeme"
    r"|(?<![a-z0-9])(?:your|insert|fake|sample)[_-]"
)
_MARKED = ("xxxxx", "***", "####", "...", "example", "placeholder", "dummy", "redacted", "changeme",
           "your", "insert", "fake", "sample")  # fmt: skip
# Of one character over and over, or counted up: what is left without it must be something.
_RUN = re.compile(r"(?i)(.)\1{7,}|0?123456789?0?|abcdefghi\w*")
_RUNS = ("123456789", "abcdefghi", *(8 * chr(code) for code in range(128)))
_UUID = re.compile(r"(?i)^\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?$")
_HEX_DIGEST = re.compile(r"(?i)^(?:sha\d+[-:])?(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$")
_CODE = re.compile(
    r"^[@&!~^]?[A-Za-z_$][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)+$|^(?:https?|file|git|ssh)://"
    r"|^[./~]|^[A-Za-z]:\\|\.(?:py|js|ts|go|json|ya?ml|toml|pem|key|crt|cer|p12|txt|env|html?|cfg)$"
)
_CHANGE = re.compile(r"[a-z][A-Z]")
_LETTERS = re.compile(r"[a-z]+|[A-Z][a-z]+|[A-Z]+(?![a-z])")


# So much of a value is judged: a hostile text has one of 512 characters at each of its names.
_JUDGED = 128
_N_LOG_N = [0.0, *(n * math.log2(n) for n in range(1, _JUDGED + 1))]


def entropy(text: str) -> float:
    """Shannon entropy of the characters, in bits each."""
    text = text[:_JUDGED]
    if not text:
        return 0.0
    counts = map(text.count, set(text))
    return math.log2(len(text)) - sum(map(_N_LOG_N.__getitem__, counts)) / len(text)


def has_crc(body: str) -> bool:
    """Whether the last six characters are the CRC-32 of the others in base 62, as GitHub's are."""
    number, digits = zlib.crc32(body[:-6].encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return body[-6:] == digits.rjust(6, "0")


def is_placeholder(value: str) -> bool:
    """Whether the value stands for one: a mask, a template, ``your-key-here``, an example."""
    value = value[:_JUDGED]
    return bool(
        len(set(value)) < min(4, len(value) / 2)
        or (_may_have(value, _MARKED) and _MARKS.search(value))
        or _PLACEHOLDER.match(value)
        or (
            len(value) >= 8
            and _may_have(value, _RUNS)
            and len(_RUN.sub("", value)) < min(8, len(value))
        )
    )


def _may_have(value: str, words: tuple[str, ...]) -> bool:
    """Whether a pattern that needs one of these words may match, which takes longer to see."""
    if not value.isascii():  # whose letters have other cases than lower() knows of
        return True
    lowered = value.lower()
    return any(word in lowered for word in words)


def is_identity(value: str) -> bool:
    """Whether the value is a UUID or a digest: names of things, not secret by themselves."""
    return bool(_UUID.match(value) or _HEX_DIGEST.match(value))


def is_code(value: str) -> bool:
    """Whether the value is a dotted name, an address or a path."""
    # Its patterns are about the beginning and the end.
    return bool(_CODE.search(value if len(value) <= _JUDGED else value[:64] + value[-64:]))


def is_published(value: str) -> bool:
    """Whether the value is a key that its owner has published."""
    return blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() in _PUBLISHED


def is_wordy(value: str, *, share: float = 0.7) -> bool:
    """Whether the letters of the value are mostly those of words."""
    value = value[:_JUDGED]
    runs = _LETTERS.findall(value)
    pairs = sum(map(len, runs)) - len(runs)
    if pairs < 5 or pairs < 0.45 * len(value):
        return False
    lowered = map(str.lower, runs)
    hits = sum(sum(map(_BIGRAMS.__contains__, map(add, run, run[1:]))) for run in lowered)
    return hits >= share * pairs


def looks_random(value: str, *, bits: float = 3.0, length: int = 10, share: float = 0.7) -> bool:
    """Whether the value is long, varied and mixed enough to have been drawn at random."""
    value = value[:_JUDGED]
    if len(value) < length or entropy(value) < bits:
        return False
    digits = sum(map(str.isdigit, value))
    if digits == len(value) or (not digits and len(value) < 20):
        return False
    if not digits and _changes(value) * 8 < len(value):
        return False
    return not is_wordy(value, share=share)


def _changes(value: str) -> int:
    """How often a capital follows a small letter."""
    if value.isascii():
        return len(_CHANGE.findall(value))
    return sum(a.islower() and b.isupper() for a, b in pairwise(value))
