from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError, InputError, TextRefused
from llmspell.security import TextRules, TextValidator
from llmspell.security.text.hidden import HIDDEN_KINDS, MAX_MARKS

# What people write, and what validators that strip by range break.
AT_HOME = [
    *("plain text\twith\r\nlines", "naïve café Ångström", "日本語、ひらがな", "한국어", "Ελληνικά"),
    *("می‌روم", "کتاب‌ها", "क्‍ष", "ක්‍ෂ", "שלום\u200f!", "مرحبا\u061c 123", "आप‌का"),
    *("👨‍👩‍👧", "❤️", "🏳️‍🌈", "👩🏽‍💻", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "1️⃣ #️⃣", "🧑‍⚕️", "©️ ™️", "🏃‍♀️", "❤️‍🔥"),
    *(
        "葛\U000e0100城",
        "ᠠᠡ\u180b",
        "۝١",
        "x̄ ± 2σ",
        "½ ² ﬁ",
        "“quoted” — dash…",
        "a b",
        "\U0001faea",
    ),
    *("ﷺ", "Z͑ͫ̓", "e\u0301", "«guillemets»", "🇫🇷", "𝛼 + 𝛽", "↔︎"),
]

HIDDEN = [
    ("a\x00b", "control"),
    ("a\x1b[31mb", "control"),
    ("a\x7fb", "control"),
    ("a\x9bb", "control"),
    ("a\x85b", "line-separator"),
    ("a\u2028b", "line-separator"),
    *((f"a{chr(code)}b", "bidi") for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    ("a\u200eb", "bidi"),
    *((f"a{chr(code)}b", "zero-width") for code in (0x200B, 0x2060, 0x2063, 0xFEFF, 0xAD, 0x3164)),
    ("a\u200cb", "zero-width"),
    ("a\u200db", "zero-width"),
    ("می\u200c\u200cروم", "zero-width"),
    ("👨\u200dx", "zero-width"),
    ("a\U000e0069\U000e0067b", "tag"),
    ("🏴\U000e0069\U000e0067b", "tag"),  # a flag's tags are ended
    ("a\ufe0fb", "variation-selector"),
    ("😀\ufe0f\ufe01\ufe02", "variation-selector"),
    ("😀\U000e0100", "variation-selector"),
    ("a\ufff9b", "format"),
    ("a\u206ab", "format"),
    ("a\ud800b", "surrogate"),
    ("a\uffffb", "noncharacter"),
    ("a\U0001fffeb", "noncharacter"),
    ("a\ue000b", "private-use"),
    ("a\u0378b", "unassigned"),
    ("a" + "\u0301" * (MAX_MARKS + 1), "combining-run"),
]


def test_text_that_is_written_so_passes(capsys: pytest.CaptureFixture[str]) -> None:
    refused = [(text, found) for text in AT_HOME if (found := TextValidator().inspect(text))]
    with capsys.disabled():
        print(f"\n{len(refused)} of {len(AT_HOME)} legitimate texts refused: {refused}")
    assert not refused


@pytest.mark.parametrize("text, kind", HIDDEN)
def test_hidden_characters_are_found_refused_and_taken_out(text: str, kind: str) -> None:
    validator = TextValidator()
    findings = validator.inspect(text)
    assert {finding.kind for finding in findings} == {kind}
    assert "U+" in findings[0].detail
    with pytest.raises(TextRefused) as refused:
        validator.validate(text)
    assert refused.value.reason == kind
    assert (refused.value.start, refused.value.end) == (findings[0].start, findings[0].end)
    clean = validator.sanitize(text)
    assert clean.findings == tuple(findings)
    assert validator.validate(clean.text) == clean.text
    assert text[0] == clean.text[0]


@pytest.mark.parametrize("kind", sorted(HIDDEN_KINDS.keys() - {"combining-run", "surrogate"}))
def test_a_kind_that_is_allowed_is_left_alone(kind: str) -> None:
    text = next(text for text, of in HIDDEN if of == kind)
    validator = TextValidator(TextRules(allow={kind}))
    assert validator.validate(text) == text == validator.sanitize(text).text


def test_what_is_deleted_joins_nothing_that_has_a_meaning() -> None:
    assert TextValidator().sanitize("java\x00script").text == "java\ufffdscript"
    assert TextValidator().sanitize("pass\u200bword").text == "password"
    assert TextValidator().sanitize("a\u2028b\x85").text == "a\nb\n"


ODD = (
    st.sampled_from([text for text, _ in HIDDEN] + AT_HOME) | st.characters() | st.text(max_size=8)
)


@settings(max_examples=400)
@given(
    st.lists(ODD, max_size=8).map("".join),
    st.sampled_from([None, "NFC", "NFKC"]),
)
def test_sanitised_text_keeps_the_rules_and_stays_as_it_is(text: str, form: str | None) -> None:
    validator = TextValidator(TextRules(normalization=form))  # type: ignore[arg-type]
    clean = validator.sanitize(text)
    assert validator.inspect(clean.text) == []
    assert validator.sanitize(clean.text) == type(clean)(clean.text, ())
    assert (clean.text == text) == (not clean.findings)
    for finding in clean.findings:
        assert 0 <= finding.start < finding.end <= len(text)


def test_text_is_brought_to_the_form_that_is_chosen() -> None:
    composed = TextValidator(TextRules(normalization="NFC"))
    assert composed.sanitize("Cafe\u0301 ﬁ²").text == "Café ﬁ²"
    (finding,) = composed.inspect("Cafe\u0301")
    assert (finding.kind, finding.start) == ("not-normalized", 3)
    assert TextValidator(TextRules(normalization="NFKC")).sanitize("ﬁ² Ａ").text == "fi2 A"
    assert TextValidator().sanitize("e\u0301 ﬁ").text == "e\u0301 ﬁ"


def test_marks_that_take_long_to_sort_are_never_normalised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    longest = []
    normalize = unicodedata.normalize

    def watched(form: str, text: str) -> str:
        run = 0
        for character in text:
            run = run + 1 if unicodedata.category(character)[0] == "M" else 0
            longest.append(run)
        return normalize(form, text)  # type: ignore[arg-type]

    monkeypatch.setattr(unicodedata, "normalize", watched)
    validator = TextValidator(TextRules(normalization="NFKC"))
    for text in ("a" + "\u0301\u0316" * 5000, "a" + ("\u0301" * 20 + "\u200b") * 500):
        assert validator.inspect(text)
        clean = validator.sanitize(text)
        assert len(clean.text) <= MAX_MARKS + 1
    assert max(longest) <= MAX_MARKS


@pytest.mark.parametrize(
    "text, rules, kind",
    [
        ("abcd", TextRules(max_characters=3), "too-many-characters"),
        ("éé", TextRules(max_bytes=3), "too-many-bytes"),
        ("a\r\nb\nc", TextRules(max_lines=2), "too-many-lines"),
        ("ﷺﷺ", TextRules(max_characters=10, normalization="NFKC"), "too-many-characters"),
    ],
)
def test_text_beyond_a_limit_is_refused_and_not_cut(text: str, rules: TextRules, kind: str) -> None:
    with pytest.raises(TextRefused, match="limit is") as refused:
        TextValidator(rules).sanitize(text)
    assert refused.value.reason == kind


def test_limits_are_of_characters_bytes_and_lines_inclusive() -> None:
    rules = TextRules(max_characters=4, max_bytes=5, max_lines=2)
    assert TextValidator(rules).validate("é\r\na") == "é\r\na"


def test_words_of_several_scripts() -> None:
    alike = TextValidator(TextRules(scripts="unmistakable"))
    single = TextValidator(TextRules(scripts="single"))
    for text in ("pаypal", "ΡayPal", "gооgle", "scоре"):
        (finding,) = alike.inspect(f"to {text} now")
        assert (finding.kind, finding.start, finding.end) == ("mixed-script", 3, 3 + len(text))
        with pytest.raises(TextRefused, match="look-alikes U\\+"):
            alike.sanitize(text)
    for text in (
        "5 kΩ",
        "привет hello",
        "カタカナABC漢字ひらがな",
        "한글ABC",
        "αβγ",
        "µm",
        "naïve",
    ):
        assert alike.inspect(text) == []
    assert [finding.kind for finding in single.inspect("5 kΩ")] == ["mixed-script"]
    assert single.inspect("привет hello") == []


@pytest.mark.parametrize(
    "settings",
    [
        {"max_characters": 0},
        {"max_lines": True},
        {"max_bytes": "9"},
        {"normalization": "NFD"},
        {"scripts": "latin"},
        {"allow": {"surrogate"}},
        {"allow": "tag"},
        {"allow": {"nothing"}},
    ],
)
def test_rules_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TextRules(**settings)  # type: ignore[arg-type]


def test_bytes_are_no_text() -> None:
    with pytest.raises(InputError, match="bytes"):
        TextValidator().validate(b"a")  # type: ignore[arg-type]
