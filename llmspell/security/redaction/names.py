"""Names of settings: those that hold secrets, and those that only sound so."""

from __future__ import annotations

import re

__all__ = ["NAMES", "OTHER_NAME", "PASSWORD_NAME", "TOKEN_NAME"]

# A name that holds one of these holds a password, which may be any word.
_PASSWORD = r"passw(?:or)?d|passphrase|passcode|passwd|pwd|pass|contribsys__com"
NAMES = (
    _PASSWORD + r"|secret|token|credential|creds|auth|access|private|session|salt"
    r"|key|cookie|adobe|license|webhook|dsn|bearer|login|cloudflare|sourcegraph|artifactory"
)
# All for names in lower case: `re` leaves out at once what begins with another letter, unless it
# has to ignore case.
# Names that hold such a word and say that the value is something else.
OTHER_NAME = re.compile(
    r"""(?x)
      author | accessib|accessor|random[_.-]?access|rapid(?!api)|capital|monkey|donkey
    | turkey|hockey|jockey | keying|keyword|keynote|whiskey|tokeniz|tokenis|secretary|compass|bypass
    | passeng | passive | passing | pass(?:ed|es)(?![a-z])
    | passport|passage|passthrough|obsession|salty
    | (?:bucket|foreign|hot|idx|index|natural|primary|pub(?:lic)?|schema|sequence|cache|sort
        |partition|object|row|group|lookup|map|dict|i18n|label|translation|routing|shard|hash
        |composite|range|dedup|idempotency|unique|data|event|registry|issue|answer|arrow
        |shortcut|field|search|property|query|react|item|list|entry|menu|tree|node)s?[_.-]?key
    | key[_.-]?(?:alias|board|code|frame|id\b|ids\b|length|mesh|name|pair|press|ring|selector|sig
        |signature|size|stone|storetype|word|up|down|left|right|space|type|usage|version|path|file
        |prefix|suffix|count|hash|map|field|event|format|spec|column|fingerprint|vault|store|tab)
    | (?:key|token|secret|passw(?:or)?d|pwd|auth|credentials?|access|session|api|cookie|salt
        |signature|license)s?[_.-]?(?:id|name|names|ur[il]|file|path|dir|length|len|size|type|version|endpoint
        |count|limit|expir\w*|ttl|field|label|hint|prompt|policy|rules?|regex|pattern|method|mode
        |level|scheme|realm|provider|handler|service|server|host|domain|header|max|min|ref|arn|placeholder
        |strength|reset|changed|updated|created|at|log|logs|control|point|rights|time|date|status
        |source|results|manager|class|module|index|kind|valid|required|enabled|disabled|algorithm|alg
        |audience|scope|scopes|issuer|code|budget|usage|used|text|string_length)\b
    | user[_.-]?secrets[_.-]?id | x-ms-exchange | authentication-results | csrf | xsrf
    | authenticity[_.-]?token
    | (?:max|min|num|input|output|total|prompt|completion|stop)[_.-]?tokens
    | (?:^|[_.-])(?:eos|bos|pad|unk|sep|cls|mask|start|end|stop)[_.-]?token
    | withcredentials | public[_.-]?token | keyvault | issuerkeyhash | lic_files
    | checksum | integrity | jsonwebtoken | ^(?:set-)?cookie2?$
    """
)
PASSWORD_NAME = re.compile(rf"(?:{_PASSWORD})(?:[_.-]?\d{{1,3}}|\w{{0,12}})$")
TOKEN_NAME = re.compile(
    r"token|secret|credential|creds|(?:api|auth|access|private)[_-]?key"
    r"|dsn|heroku|hubspot|cloudflare|sourcegraph|artifactory"
)
