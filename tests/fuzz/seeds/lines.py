"""URLs, command lines, patterns, hosts and paths: those that are taken, and those that are not."""

from __future__ import annotations

from tests.fuzz.targets.lines import READERS

_GIVEN = {
    "url": {
        "plain": "http://example.org/a/b?c=d#e",
        "port": "https://Example.ORG:8443",
        "credentials": "http://user:pass@example.org/",
        "address": "http://127.0.0.1:80/",
        "address-short": "http://127.1/",
        "address-hexadecimal": "http://0x7f000001/",
        "ipv6": "http://[2001:DB8::1]:443/x",
        "ipv6-mapped": "http://[::ffff:127.0.0.1]/",
        "ipv6-zone": "http://[fe80::1%25eth0]/",
        "international": "http://b\u00fccher.example/\u00e9?\u4e2d",
        "full-width": "http://\uff45xample.org/",
        "punycode": "http://xn--bcher-kva.example/",
        "backslash": "http://a.example\\@b.example/",
        "tab": "http://a.exa\tmple/",
        "percent-lone": "http://a.example/%zz",
        "percent-host": "http://%61.example/",
        "dots": "../../x/./y",
        "other-scheme": "javascript:alert(1)",
        "no-scheme": "//b.example/x",
        "query-alone": "?x=y",
        "trailing-dot": "http://a.example./",
        "port-of-zeros": "http://a.example:0080/",
    },
    "command": {
        "words": "git log --oneline -n 3",
        "quoted": "grep 'a b' \"c d\" e\\ f",
        "substitution": "echo $(id)",
        "pipe": "cat x | sh",
        "unclosed": "echo 'a",
        "assignment": "A=1 env",
        "reserved": "if true",
        "braces": "echo {a,b}",
        "escape-at-end": "echo a\\",
        "unbroken-space": "echo\u00a0a",
        "empty": "''",
        "comment": "ls #x",
    },
    "pattern": {
        "plain": r"(?P<a>a+)b|\d{2,5}",
        "back-reference": r"(a)\1",
        "look-ahead": "a(?=b)",
        "counts": "((a{100}){100}){100}",
        "set": r"[^\]\-a-z[:alpha:]]+",
        "unicode": r"\p{Greek}|\x{1F600}|\u00e9",
        "unclosed": "(a",
        "surrogate": "a\udc80",
        "empty": "",
        "flags": "(?i-s:a.)(?m)^",
    },
    "pattern_of_secrets": {
        "plain": "key=(?P<value>[a-z]{1,20})",
        "unbounded": "(a+)+",
        "set": r"[\w.-]{3,9}\b",
        "nested-counts": "((a{1,99}){1,99}){1,99}",
        "unclosed": "[a",
    },
    "host": {
        "name": "api.example.org",
        "below": ".example.org",
        "star": "*",
        "network": "10.0.0.0/8",
        "ipv6": "::1",
        "star-name": "*.example.org",
    },
    "path": {
        "absolute": "/srv//x/./y/",
        "above": "/srv/../etc",
        "surrogate": "/a\udc80",
        "long": "/" + "x" * 256,
        "variable": "LD_PRELOAD",
    },
}


def inputs() -> dict[str, bytes]:
    """Inputs by name."""
    readers = [reader.__name__[1:] for reader in READERS]
    return {
        f"{reader}-{name}": bytes([readers.index(reader)]) + text.encode("utf-8", "surrogateescape")
        for reader, texts in _GIVEN.items()
        for name, text in texts.items()
    }
