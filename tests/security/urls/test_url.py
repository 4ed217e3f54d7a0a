"""Which URLs are taken, as what, and why the others are refused."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from llmspell.errors import InvalidUrl
from llmspell.security import Url, parse_url
from llmspell.security.urls.url import joined
from tests.security.urls.refused_urls import REFUSED


@pytest.mark.parametrize(
    ("text", "url", "canonical"),
    [
        ("http://a.com", Url("http", "a.com", 80, "/", ""), "http://a.com/"),
        ("HTTPS://A.COM:443/X", Url("https", "a.com", 443, "/X", ""), "https://a.com/X"),
        ("http://a.com:443", Url("http", "a.com", 443, "/", ""), "http://a.com:443/"),
        ("http://a.com?q", Url("http", "a.com", 80, "/", "q"), "http://a.com/?q"),
        ("http://a.com/?", Url("http", "a.com", 80, "/", ""), "http://a.com/"),
        ("http://a.com#f@b", Url("http", "a.com", 80, "/", "", "f@b"), "http://a.com/"),
        ("http://a.com/@b.com?u=http://c:1@d#e", None, "http://a.com/@b.com?u=http://c:1@d"),
        ("http://a.com/ä|%41?[x]=é", None, "http://a.com/%C3%A4%7C%41?%5Bx%5D=%C3%A9"),
        ("http://8.8.8.8:65535/", Url("http", "8.8.8.8", 65535, "/", ""), None),
        ("http://[2A00::0:1]:1/", Url("http", "2a00::1", 1, "/", ""), "http://[2a00::1]:1/"),
        ("http://[::ffff:8.8.8.8]/", Url("http", "8.8.8.8", 80, "/", ""), "http://8.8.8.8/"),
        ("http://[::FFFF:808:808]/", Url("http", "8.8.8.8", 80, "/", ""), "http://8.8.8.8/"),
        ("http://my_box.a.com/", Url("http", "my_box.a.com", 80, "/", ""), None),
        ("http://r3---sn.a.com/", Url("http", "r3---sn.a.com", 80, "/", ""), None),
        ("http://1.2.3.4a/", Url("http", "1.2.3.4a", 80, "/", ""), None),
        ("http://Bücher.Example/", Url("http", "xn--bcher-kva.example", 80, "/", ""), None),
        ("http://bu\u0308cher.example", None, "http://xn--bcher-kva.example/"),
        ("http://xn--bcher-kva.example", None, "http://xn--bcher-kva.example/"),
        ("http://例え.テスト/", Url("http", "xn--r8jz45g.xn--zckzah", 80, "/", ""), None),
        ("http://" + "a" * 63 + ".com", Url("http", "a" * 63 + ".com", 80, "/", ""), None),
    ],
)
def test_a_url_is_taken_apart(text: str, url: Url | None, canonical: str | None) -> None:
    parsed = parse_url(text)
    assert url is None or parsed == url
    assert canonical is None or str(parsed) == canonical
    again = parse_url(str(parsed))
    assert (again.origin, again.target) == (parsed.origin, parsed.target)
    assert str(again) == str(parsed)


@pytest.mark.parametrize(
    ("reason", "text"),
    [(reason, text) for reason, texts in REFUSED.items() for text in texts],
    ids=ascii,
)
def test_a_url_that_clients_could_read_otherwise_is_refused(reason: str, text: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url(text)
    assert caught.value.reason == reason, caught.value


def test_what_is_no_str_is_refused() -> None:
    with pytest.raises(InvalidUrl, match="bytes") as caught:
        parse_url(b"http://a.com")  # type: ignore[arg-type]
    assert caught.value.reason == "type"


@pytest.mark.parametrize(
    "text", ["http://u:hunter2@a.com", "http://a.com:x/?key=hunter2", "http://a.com/%?key=hunter2"]
)
def test_a_message_holds_no_credentials_and_no_query(text: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url(text)
    assert "hunter2" not in str(caught.value)


def test_a_message_is_one_short_line_and_an_error_can_be_pickled() -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url("http://" + "!\u2028"[0] * 250)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()
    assert pickle.loads(pickle.dumps(caught.value)).reason == "label"


def test_a_name_has_253_characters_at_most_in_ascii() -> None:
    longest = ".".join(["a" * 61] * 4) + ".abcde"
    assert len(longest) == 253 and parse_url(f"http://{longest}").host == longest
    with pytest.raises(InvalidUrl, match="254 characters"):
        parse_url(f"http://{longest}f")
    with pytest.raises(InvalidUrl) as caught:
        parse_url("http://" + ".".join(["\u00e4" * 40] * 6))
    assert caught.value.reason == "unicode-host"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/x", "https://a.com:8443/x"),
        ("x", "https://a.com:8443/d/x"),
        ("./x?y#z", "https://a.com:8443/d/x?y"),
        ("../x", "https://a.com:8443/x"),
        ("../../../x", "https://a.com:8443/x"),
        ("..", "https://a.com:8443/"),
        (".", "https://a.com:8443/d/"),
        ("e/../f/.", "https://a.com:8443/d/f/"),
        ("?z", "https://a.com:8443/d/e?z"),
        ("#z", "https://a.com:8443/d/e?q"),
        ("//b.com/y", "https://b.com/y"),
        ("http://b.com", "http://b.com/"),
        ("HTTPS://B.com:1/", "https://b.com:1/"),
        ("x?u=http://c/..", "https://a.com:8443/d/x?u=http://c/.."),
        ("/@b.com", "https://a.com:8443/@b.com"),
        ("@b.com", "https://a.com:8443/d/@b.com"),
        (".b.com", "https://a.com:8443/d/.b.com"),
    ],
)
def test_a_location_is_joined_to_where_it_came_from(location: str, expected: str) -> None:
    assert str(joined(parse_url("https://a.com:8443/d/e?q#f"), location)) == expected


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "location"), ("\\\\b.com", "backslash"), ("/\\b.com", "backslash"),
        ("/\t/b.com", "control-character"), ("\thttp://b.com", "control-character"),
        (" //b.com", "whitespace"), ("///b.com", "no-host"), ("////b.com", "no-host"),
        ("//u@b.com", "credentials"), ("http:b.com", "scheme"), ("http:/b.com", "scheme"),
        ("javascript:x", "scheme"), ("ftp://b.com", "scheme"), ("//b.com.", "dot"),
        ("//0x7f.1/", "ipv4-form"), ("a:b", "scheme"),
    ],
)  # fmt: skip
def test_a_location_is_refused_as_a_url_is(location: str, reason: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        joined(parse_url("https://a.com/d/e"), location)
    assert caught.value.reason == reason, caught.value


def test_only_internationalised_hosts_need_the_extra() -> None:
    program = (
        "import sys; sys.modules['idna'] = None\n"
        "from llmspell.errors import MissingDependency\n"
        "from llmspell.security import DomainRules, parse_url\n"
        "parse_url('http://a.com/\\xe4'); DomainRules(['a.com', '.b.com', '10.0.0.0/8'])\n"
        "for host in ('b\\xfccher.example', 'xn--bcher-kva.example'):\n"
        "    try: parse_url('http://' + host)\n"
        "    except MissingDependency as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == 2 * "idna is not installed; run: pip install 'llmspell[security]'\n"
