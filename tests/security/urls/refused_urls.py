"""URLs that clients read in more than one way, or not at all, by the reason of the refusal."""

from __future__ import annotations

from llmspell.security.urls.url import MAX_URL

REFUSED = {
    "scheme": [
        "ftp://a.com", "file:///etc/passwd", "gopher://a", "javascript:alert(1)", "http:a.com",
        "http:/a.com", "//a.com", "a.com", "/x", "", "httpss://a.com", "ht%74p://a.com",
        "url:http://a.com", "http\u017f://a.com", "view-source:http://a.com", "http;//a.com",
        "http:\u2215\u2215a.com",
    ],
    "credentials": [
        "http://u@a.com", "http://u:p@a.com", "http://@a.com", "http://a.com@", "http://:@a.com",
        "http://a.com:80@b.com", "http://a.com@b.com@c.com", "http://[::1]@a.com",
    ],
    "control-character": [f"http://a{chr(c)}.com/" for c in (*range(0x20), *range(0x7F, 0xA0))]
    + ["http://a.com/\r\nHost: b", "http://a.com/\ud800", "http://a.com/x\x00", "\x00http://a.com"],
    "whitespace": [
        " http://a.com", "http://a.com ", "http://a .com", "http://a.com/a b",
        "http://a.com/\u00a0", "http://a\u3000.com", "http://a.com/\u2028", "http://\u2003a.com",
    ],
    "backslash": [
        "http:\\\\a.com", "http://a.com\\@b.com", "http://a.com\\.b.com", "http://a.com/\\b",
        "https:\\/\\/a.com",
    ],
    "no-host": ["http://", "http:///a.com", "http://:80/", "http://?a", "http://#a"],
    "long-host": ["http://" + "a." * 126 + "com", "http://" + "a" * 5000,
        "http://" + "a." * 127,
    ],
    "long-url": ["http://a.com/" + "x" * MAX_URL],
    "label": [
        "http://" + "a" * 64 + ".com", "http://a..com", "http://.a.com", "http://-a.com",
        "http://a-.com", "http://a!b.com", "http://a,b", "http://a'b.com", "http://a;b.com",
        "http://a&b.com", "http://a|b.com", "http://<a>.com", "http://{a}.com", "http://a*.com",
        "http://a=b.com", "http://a$b.com", "http://(a).com", "http://`a`.com", 'http://"a".com',
        "http://a~b.com", "http://a^b.com", "http://a+b.com",
    ],
    "percent-in-host": [
        "http://%61.com", "http://a%2ecom", "http://127%2e0.0.1", "http://%31%32%37.0.0.1",
        "http://a.com%00.b.com", "http://a.com%0d%0a.b", "http://a.com%2f.b.com",
        "http://%5b::1%5d", "http://a.com%40b.com", "http://a.com%23.b",
    ],
    "zone": ["http://[fe80::1%25eth0]", "http://[fe80::1%eth0]", "http://[2a00::1%251]"],
    "ipv4-form": [
        "http://0x7f000001", "http://2130706433", "http://017700000001", "http://0x7f.1",
        "http://127.1", "http://127.0.1", "http://0177.0.0.1", "http://0x7f.0.0.1",
        "http://127.0.0.0x1", "http://127.0.0.01", "http://127.000.000.001", "http://256.0.0.1",
        "http://127.0.0.1.1", "http://0", "http://0x", "http://a.0x", "http://a.1",
        "http://1.2.3.4.5", "http://00.0.0.0", "http://127.0.0.256", "http://99999999999",
        "http://a.com.1", "http://0X7F.0.0.1",
    ],
    "ipv6-form": ["http://[", "http://]", "http://[]", "http://[::1", "http://[::1]x",
       "http://[1.2.3.4]", "http://[::g]", "http://[v1.a]", "http://[::1]]", "http://[[::1]]",
       "http://a[b].com", "http://[a.com]", "http://[::1].com", "http://[1:2:3:4:5:6:7:8:9]",
       "http://[::127.0.0.01]", "http://[::127.1]", "http://[00000::1]"],
    "unicode-host": [
        "http://127\u30020\u30020\u30021", "http://a\uff0ecom", "http://a\uff61com",
        "http://\uff11\uff12\uff17.0.0.1", "http://\u2460\u2461.0.0.1", "http://\uff41.com",
        "http://\u212a.com", "http://\u017f.com", "http://a\u00adb.com", "http://a\u200bb.com",
        "http://stra\u00dfe.de", "http://\u13f8.com", "http://a\u200db.com", "http://\u03b1\u03c2.gr",
        "http://\u2100.com", "http://\u2121.com", "http://a\u2024com", "http://a\u2488com",
        "http://xn--a.com", "http://xn--bcher-kvA0.example",
        "http://\u0661\u0662\u0667.0.0.1", "http://\u2044.com", "http://a\uff0fb.com",
        "http://a\uff20b.com", "http://a\uff03b.com", "http://\u2603.com", "http://\u202ea.com",
        "http://\uff05\uff14\uff11.com", "http://\u00e9\u2025com",
    ],
    "dot": [
        "http://a.com.", "http://127.0.0.1.", "http://localhost.", "http://a.com..", "http://.",
    ],
    "port": ["http://a.com:", "http://a.com:0", "http://a.com:65536", "http://a.com:080",
       "http://a.com:-1", "http://a.com:+80", "http://a.com:8a", "http://a.com:80:80",
       "http://a.com:0x50", "http://a.com:\uff11", "http://[2a00::1]:", "http://[2a00::1]:0",
       "http://a.com:8_0", "http://a.com:111111", "http://a.com:%38%30"],
    "percent": [
        "http://a.com/%", "http://a.com/%zz", "http://a.com/?a=100%", "http://a.com/%u0041",
    ],
}  # fmt: skip
