"""References: text there and back, and nothing else gets through."""

from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.errors import InvalidSecretRef
from llmspell.security import SecretRef
from llmspell.security.secrets.ref import component, place

GOOD = [
    "name:openai",
    "env:OPENAI_API_KEY",
    "file:openai",
    "file:tenants/acme/openai",
    "local:openai",
    "vault:secret/data/team/openai#api_key",
    "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/openai-AbCdEf#key",
]
SEGMENT = st.text(string.ascii_letters + string.digits + "._=+@:-", min_size=1, max_size=12)
TENANTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128
)
NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,63}\Z")


@pytest.mark.parametrize("text", GOOD)
def test_a_reference_is_its_text(text: str) -> None:
    ref = SecretRef.parse(text)
    assert str(ref) == text
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert {ref: 1}[SecretRef.parse(text)] == 1


@given(st.lists(SEGMENT, min_size=1, max_size=5), st.none() | SEGMENT)
def test_every_reference_that_can_be_made_is_read_back(parts: list[str], key: str | None) -> None:
    if {".", ".."} & set(parts):
        with pytest.raises(InvalidSecretRef):
            SecretRef("shelf", "/".join(parts), key)
    else:
        ref = SecretRef("shelf", "/".join(parts), key)
        assert SecretRef.parse(str(ref)) == ref


def test_references_have_an_order_with_a_key_or_without() -> None:
    texts = ["vault:a/data/c#a", "vault:a/data/b#l", "vault:a/data/b#k", "vault:a/data/b", "env:A"]
    refs = sorted(SecretRef.parse(text) for text in texts)
    assert list(map(str, refs)) == texts[::-1]
    assert refs[1] < refs[2] and refs[1] <= refs[1] and refs[2] > refs[1] and refs[2] >= refs[1]
    with pytest.raises(TypeError):
        refs[0] < "z"  # type: ignore[operator]  # noqa: B015


@pytest.mark.parametrize("key", [0, False, b"", 5, b"k"])
def test_a_key_that_is_no_text_is_refused_by_name(key: object) -> None:
    with pytest.raises(InvalidSecretRef, match="is a str, not"):
        SecretRef("vault", "a/data/b", key)  # type: ignore[arg-type]


BAD = [
    "", "openai", ":", "name:", "name:Openai", "name:a/b", "name:../x", "name:a#b", "name:-a",
    "name:" + "a" * 65, "env:OPENAI-KEY", "env:A#b", "env:1A", "file:/etc/passwd", "file:a//b",
    "file:a/", "file:..", "file:a/../b", "file:./a", "file:a b", "file:a\n", "file:a\0b", "file:ä",
    "vault:secret/data/%2e%2e/x#k", "vault:secret/data/x?version=1#k", "vault:secret/data/x#",
    "vault:a#b#c", "vault:a\\b", "VAULT:a", "va ult:a", "file:" + "a" * 1025,
    "vault:a#" + "k" * 257,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidSecretRef) as refused:
        SecretRef.parse(text)
    rest = text.partition(":")[2]
    assert len(rest) < 4 or rest not in str(refused.value)


@pytest.mark.parametrize("text", ["sk-abcdefgh12345678", "postgres://u:hunter22@host/db"])
def test_a_value_in_place_of_a_reference_is_not_shown(text: str) -> None:
    with pytest.raises(InvalidSecretRef) as refused:
        SecretRef.parse(text)
    assert "hunter22" not in str(refused.value) and "12345678" not in str(refused.value)


@pytest.mark.parametrize("value", [None, 5, b"name:a", ["name:a"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidSecretRef):
        SecretRef.parse(value)  # type: ignore[arg-type]
    with pytest.raises(InvalidSecretRef):
        SecretRef("file", value)  # type: ignore[arg-type]


@given(st.tuples(st.none() | TENANTS, NAMES), st.tuples(st.none() | TENANTS, NAMES))
def test_no_two_tenants_or_names_share_a_place(
    one: tuple[str | None, str], other: tuple[str | None, str]
) -> None:
    paths = [place(name, tenant) for tenant, name in (one, other)]
    assert (paths[0] == paths[1]) == (one == other)
    for path in paths:
        assert SecretRef("file", path).path == path  # it is a path that a reference may have


@pytest.mark.parametrize(
    "one, other",
    [
        ("acme", "acme-corp"), ("Acme", "acme"), ("a/b", "a"), ("..", "."), ("a", "=61"),
        ("é", "e\u0301"), ("tenants/acme", "acme"), ("x" * 128, "x" * 127), ("é" * 128, "é" * 127),
        ("+" + "0" * 64, "0" * 64), ("a\n", "a"), ("%2e", "."),
    ],
)  # fmt: skip
def test_tenants_that_look_alike_have_places_of_their_own(one: str, other: str) -> None:
    assert component(one).casefold() != component(other).casefold()
    for tenant in (one, other):
        assert "/" not in component(tenant) and component(tenant) not in {".", ".."}
        assert len(component(tenant)) <= 200
