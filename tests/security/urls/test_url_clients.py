"""HTTP clients see the host and the port that we see, of every URL that we take.

A URL that we take and on which a client disagrees must be refused instead. A client that refuses a
URL that we take is no danger.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmspell.errors import InvalidUrl
from llmspell.security import Url, parse_url
from tests.security.urls.clients import INSTALLED
from tests.security.urls.legitimate_urls import TAKEN
from tests.security.urls.refused_urls import REFUSED
from tests.security.urls.ssrf_urls import every_url

HOSTS = st.one_of(
    st.sampled_from(
        ["a.com", "A.b-c.Com", "8.8.8.8", "127.0.0.1", "0x7f.1", "017700000001", "127.1",
         "localhost", "[::1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[2a00::1]",
         "[fe80::1%25lo]", "1.2.3.4a", "b\u00fccher.example", "xn--bcher-kva.example",
         "stra\u00dfe.de", "\uff11.\u2488com", "a\u3002com", "a_b.com", "a..com", "a.com.", "",
         "xn--a", "%61.com", "\u212a.com",
         "r3---s.c", "\u4f8b\u3048.\u30c6\u30b9\u30c8", "BU\u0308CHER.example", "\u0130.com"],
    ),
    st.from_regex(r"[a-zA-Z0-9.\-_]{1,12}", fullmatch=True),
    st.from_regex(r"([a-z\u00e0-\u00fc]{1,4}\.){1,3}[a-z\u03b1-\u03c9]{2,3}", fullmatch=True),
    st.from_regex(r"xn--[a-z0-9-]{1,8}\.com", fullmatch=True),
    st.lists(st.text(st.characters(categories=["Ll", "Lo", "Mn", "Nd"]), min_size=1, max_size=3),
             min_size=1, max_size=3).map(".".join),
    st.from_regex(r"(0x)?[0-9a-f]{1,4}(\.(0x)?[0-9]{1,3}){0,4}", fullmatch=True),
    st.from_regex(r"\[[0-9a-f:.]{2,20}\]", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: f"{text}.com"),
)  # fmt: skip
PIECES = st.one_of(
    HOSTS,
    st.sampled_from(list("/?#@:\\[]%;,&=.-_~!$'()*+|^`{}<>\"\t\r\n \x00\u00a0\u3002\uff0f\uff20")),
    st.sampled_from(["//", "http:", "https://", ":80", ":443", ":0", ":65536", "..", "%2f", "%40"]),
    st.text(st.characters(codec="utf-8"), max_size=3),
)
# From almost right to anything: a host with surroundings, then pieces put together blindly.
URLS = st.one_of(
    st.builds(
        lambda scheme, before, host, port, after: f"{scheme}{before}{host}{port}{''.join(after)}",
        st.sampled_from(["http://", "https://", "HTTP://", "http:/", "http:", "//", "hTTps://"]),
        st.sampled_from(["", "", "", "", "u@", "u:p@", "@", "a.com@", "a.com:80@", "\\", "/", "["]),
        HOSTS,
        st.sampled_from(
            ["", "", "", ":80", ":8080", ":", ":0", ":65535", ":65536", ":08", ":8\t0"]
        ),
        st.lists(PIECES, max_size=5),
    ),
    st.builds(
        lambda host, port, after: f"https://{host}{port}{after}",
        HOSTS,
        st.sampled_from(["", ":80", ":8443", ":1"]),
        st.from_regex(r"([/?#][!-\[\]-~\u00a1-\u2000\u3002\uff01-\uff60]*)?", fullmatch=True),
    ),
    st.lists(PIECES, max_size=8).map(lambda pieces: "http://" + "".join(pieces)),
    st.lists(PIECES, max_size=8).map("".join),
)
CORPUS = [*TAKEN, *(text for texts in REFUSED.values() for text in texts)]
CORPUS += [leading.url for leading in every_url()]


def disagreements(text: str, url: Url) -> tuple[list[str], int]:
    """Which clients see another place, for the text and for ``str(url)``; how many refuse."""
    found, refusals = [], 0
    for name, place in INSTALLED.items():
        for spelling in (text, str(url)):
            try:
                seen = place(spelling)
            except Exception:
                refusals += 1
                continue
            if seen != (url.host, url.port):
                found.append(f"{name} sees {seen} in {spelling!a}, we {(url.host, url.port)}")
    return found, refusals


def test_clients_agree_on_every_url_that_is_taken() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
    @given(URLS)
    @example("http://a.com#@b.com")
    @example("http://a.com?@b.com/")
    @example("http://a.com/@b.com:80")
    def agree(text: str) -> None:
        counts["tried"] += 1
        try:
            url = parse_url(text)
        except InvalidUrl:
            return
        counts["taken"] += 1
        found, refusals = disagreements(text, url)
        counts["refused by a client"] += refusals
        assert found == []

    agree()
    print(f"{sorted(INSTALLED)}: {dict(counts)}")
    assert counts["taken"] > counts["tried"] / 20


def test_clients_agree_on_the_written_corpus_and_not_on_what_is_refused() -> None:
    taken, others = 0, Counter[str]()
    for text in CORPUS:
        try:
            url = parse_url(text)
        except InvalidUrl:
            others.update(differing(text))
            continue
        taken += 1
        assert disagreements(text, url)[0] == []
    print(f"{taken} of {len(CORPUS)} taken, agreed on; of the others {dict(others)}")
    assert taken > 300
    # The refusals aren't idle: these are what lets a check see one host and a client another.
    assert others["seen as several places"] > 50


def differing(text: str) -> list[str]:
    """Whether the clients that take a URL see one place in it, or several; some refuse others."""
    places, refusals = set(), 0
    for place in INSTALLED.values():
        try:
            places.add(place(text))
        except Exception:
            refusals += 1
    words = ["seen as several places"] if len(places) > 1 else []
    return [*words, "taken by some"] if places and refusals else words
