"""Building requirements: one spelling, exact limits, and a way to bytes and back."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path, PurePosixPath
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError, InvalidUrl, LlmspellError
from llmspell.security import SecurityRequirements

RESTRICTED = SecurityRequirements.restricted()
PRIVILEGED = SecurityRequirements.privileged()

names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/."), min_size=1)
paths = st.lists(names.map(lambda n: n[:40]), min_size=1, max_size=4).map(
    lambda parts: "/data/" + "/".join(parts)
)
labels = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)
domains = hosts | hosts.map(".".__add__)
variables = st.from_regex(r"[A-Z_][A-Z0-9_]{0,12}", fullmatch=True)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("with_read_only"), paths.map("/read".__add__)),
        st.tuples(st.just("with_file_access"), paths),
        st.tuples(st.just("with_network_access"), domains),
        st.tuples(st.just("with_environment"), variables),
        st.tuples(st.just("with_processes"), st.integers(0, 16)),
        st.tuples(st.just("with_memory_limit"), st.integers(1 << 20, 100 << 20)),
        st.tuples(st.just("with_cpu_limit"), st.integers(1, 3_600_000)),
        st.tuples(st.just("with_timeout"), st.floats(0, 3600, exclude_min=True)),
        st.tuples(st.just("with_output_limit"), st.integers(0, 64 << 20)),
    ),
    max_size=12,
)


def built(start: SecurityRequirements, steps: list[tuple[str, Any]]) -> SecurityRequirements:
    for name, value in steps:
        start = getattr(start, name)(value)
    return start


def test_the_guides_example_builds() -> None:
    made = (
        SecurityRequirements.restricted()
        .with_file_access("/workspace")
        .with_network_access("api.company.com")
        .with_memory_limit(100 * 1024**2)
        .with_cpu_limit(5000)
    )
    assert (made.writable, made.domains) == (("/workspace",), ("api.company.com",))
    # Both limits are the level's defaults, which repr leaves out.
    assert repr(made) == (
        "SecurityRequirements.restricted().with_file_access('/workspace')"
        ".with_network_access('api.company.com')"
    )


@settings(deadline=None)
@given(st.sampled_from([RESTRICTED, PRIVILEGED]), calls)
def test_repr_is_the_expression_that_builds_an_equal_one(
    start: SecurityRequirements, steps: list[tuple[str, Any]]
) -> None:
    made = built(start, steps)
    again = eval(repr(made), {"SecurityRequirements": SecurityRequirements})
    assert again == made
    assert hash(again) == hash(made)


@settings(deadline=None)
@given(st.sampled_from([RESTRICTED, PRIVILEGED]), calls)
def test_msgpack_json_pickle_and_copies_give_an_equal_one(
    start: SecurityRequirements, steps: list[tuple[str, Any]]
) -> None:
    made = built(start, steps)
    for use_list in (True, False):
        fields = msgpack.unpackb(msgpack.packb(made.to_fields()), use_list=use_list)
        assert SecurityRequirements.from_fields(fields) == made
    assert SecurityRequirements.from_fields(json.loads(json.dumps(made.to_fields()))) == made
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


@settings(deadline=None)
@given(calls, st.randoms())
def test_lists_grow_in_any_order_and_numbers_are_the_last_given(
    steps: list[tuple[str, Any]], random: Any
) -> None:
    made = built(RESTRICTED, steps)
    listed = [step for step in steps if step[0] in LISTING]
    numbers = [step for step in steps if step[0] not in LISTING]
    random.shuffle(listed)
    assert built(built(RESTRICTED, listed + listed), numbers) == made
    for name, field in LISTING.items():
        assert set(getattr(made, field)) == {value for call, value in steps if call == name}


LISTING = {
    "with_read_only": "read_only",
    "with_file_access": "writable",
    "with_network_access": "domains",
    "with_environment": "environment",
}


@settings(deadline=None)
@given(calls)
def test_building_changes_nothing_that_was_there(steps: list[tuple[str, Any]]) -> None:
    before = RESTRICTED.to_fields()
    built(RESTRICTED, steps)
    assert RESTRICTED.to_fields() == before
    with pytest.raises(FrozenInstanceError):
        RESTRICTED.processes = 1  # type: ignore[misc]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", ".", "a", "b..c", "..."]), max_size=6))
def test_a_path_loses_doubled_slashes_and_dots_alone(parts: list[str]) -> None:
    made = PRIVILEGED.with_read_only("/" + "/".join(parts))
    assert made.read_only == ("/" + "/".join(p for p in parts if p not in ("", ".")),)


@pytest.mark.parametrize(
    "path, why",
    [
        ("workspace", "relative"),
        ("", "relative"),
        ("~/x", "relative"),
        ("/workspace/../etc", "'..'"),
        ("/..", "'..'"),
        ("/a\0b", "control character"),
        ("/a\nb", "control character"),
        ("/a\u2028b", "control character"),
        ("/\udcff", "UTF-8"),
        ("/" + "a" * 256, "too long"),
        ("/" + "é" * 128, "too long"),
        ("/a" * 2048, "too long"),
        (b"/workspace", "must be a str"),
        (None, "must be a str"),
    ],
)
def test_a_path_that_is_none_is_refused_with_the_reason(path: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        RESTRICTED.with_file_access(path)
    assert "\n" not in str(refused.value)


def test_the_longest_path_and_path_objects_are_taken() -> None:
    longest = "/a" * 2047 + "b"
    assert len(longest) == 4095
    assert RESTRICTED.with_read_only(longest).read_only == (longest,)
    assert RESTRICTED.with_read_only("/" + "a" * 255).read_only[0].endswith("a")
    assert RESTRICTED.with_read_only(PurePosixPath("/a/b/")).read_only == ("/a/b",)


def test_links_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    assert RESTRICTED.with_read_only(tmp_path / "link").read_only == (str(tmp_path / "link"),)


def test_what_lies_in_a_writable_directory_cannot_be_read_only() -> None:
    made = RESTRICTED.with_file_access("/workspace")
    for path in ("/workspace", "/workspace/", "/workspace/keys"):
        with pytest.raises(ConfigError, match="may be written through '/workspace'"):
            made.with_read_only(path)
    assert made.with_read_only("/workspace-keys").read_only == ("/workspace-keys",)
    below = RESTRICTED.with_read_only("/data").with_file_access("/data/out")
    assert (below.read_only, below.writable) == (("/data",), ("/data/out",))
    with pytest.raises(ConfigError, match="through '/'"):
        PRIVILEGED.with_file_access("/").with_read_only("/etc")


@pytest.mark.parametrize(
    "given, normal",
    [
        ("API.Company.COM", "api.company.com"),
        (".Example.org", ".example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        (".Bücher.example", ".xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("10.1.2.3", "10.1.2.3"),
        ("FD00::0:1", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("localhost", "localhost"),
    ],
)
def test_a_domain_has_one_spelling(given: str, normal: str) -> None:
    made = RESTRICTED.with_network_access(given)
    assert made.domains == (normal,)
    assert made.with_network_access(normal) == made


@pytest.mark.parametrize(
    "domain",
    [
        "", ".", "..example.org", "example..org", "example.org.", "*.example.org", "**",
        "https://example.org", "example.org:443", "example.org/x", "user@example.org",
        "exa mple.org", "example.org\n", "-a.example", "a" * 64 + ".example", "a." * 127 + "com",
        ".10.1.2.3", "010.1.2.3", "1.2.3", "0x7f.1", "10.0.0.0/8", "fd00::1%eth0", ".fd00::1",
        "xn--a.example", "\ud800.example", "ex\u00adample.org", "\uff45xample.org",
        "straße.example",
    ],
)  # fmt: skip
def test_a_domain_that_clients_could_differ_on_is_refused_with_the_cause(domain: str) -> None:
    with pytest.raises(ConfigError, match="domain") as refused:
        RESTRICTED.with_network_access(domain)
    assert isinstance(refused.value.__cause__, InvalidUrl) or domain == ".10.1.2.3"
    assert str(refused.value).isprintable()


def test_a_star_in_front_is_told_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"write '\.example\.org' for names below it"):
        PRIVILEGED.with_network_access("*.example.org")


@settings(deadline=None)
@given(st.text())
def test_no_text_is_a_domain_but_what_is_its_own_spelling(text: str) -> None:
    try:
        (domain,) = PRIVILEGED.with_network_access(text).domains
    except ConfigError:
        return
    assert PRIVILEGED.with_network_access(domain).domains == (domain,)
    assert domain.isascii()


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "A B", "A\n", "É", "*", "A" * 256, 5])
def test_a_variable_is_letters_digits_and_underscores(name: Any) -> None:
    with pytest.raises(ConfigError, match="environment variable"):
        RESTRICTED.with_environment(name)


@pytest.mark.parametrize(
    "call, values",
    [
        ("with_processes", [-1, 1.0, True, None, "1"]),
        ("with_memory_limit", [0, (1 << 20) - 1, 2e6, True]),
        ("with_cpu_limit", [0, 3_600_001, 1.5, False]),
        ("with_timeout", [0, -1, 3600.1, float("nan"), float("inf"), True, "5", None]),
        ("with_output_limit", [-1, (64 << 20) + 1, 1.0]),
        ("with_network_access", [b"a.example", None, 4]),
    ],
)
def test_a_number_out_of_bounds_or_of_another_type_is_refused(call: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError):
            getattr(PRIVILEGED, call)(value)


def test_whether_a_path_is_written_is_said_by_a_bool() -> None:
    with pytest.raises(ConfigError, match="write must be True or False"):
        RESTRICTED.with_file_access("/a", write="no")  # type: ignore[arg-type]
    assert RESTRICTED.with_file_access("/a", write=False) == RESTRICTED.with_read_only("/a")


def test_a_list_has_an_end() -> None:
    fields = RESTRICTED.to_fields() | {"environment": [f"A{n:03}" for n in range(256)]}
    full = SecurityRequirements.from_fields(fields)
    assert full.with_environment("A000") == full
    with pytest.raises(ConfigError, match="environment lists 257, the limit is 256"):
        full.with_environment("B")


@pytest.mark.parametrize(
    "change",
    [
        {"level": "root"},
        {"level": None},
        {"level": []},
        {"unknown": 1},
        {"writable": "/a"},
        {"writable": {"/a": 1}},
        {"writable": ["/b", "/a"]},
        {"writable": ["/a", "/a"]},
        {"writable": ["/a/"]},
        {"writable": [5]},
        {"domains": ["A.example"]},
        {"domains": ["*"]},
        {"environment": None},
        {"processes": 17},
        {"processes": True},
        {"memory_bytes": 1.5},
        {"cpu_ms": "1"},
        {"timeout_seconds": None},
        {"level": "safe", "environment": ["LANG"]},
    ],
)
def test_fields_are_taken_as_they_were_written_and_no_other_way(change: dict[str, Any]) -> None:
    with pytest.raises(LlmspellError):
        SecurityRequirements.from_fields(RESTRICTED.to_fields() | change)


def test_every_field_must_be_there() -> None:
    fields = RESTRICTED.to_fields()
    for name in fields:
        with pytest.raises(ConfigError, match=f"missing or unknown: '{name}'"):
            SecurityRequirements.from_fields({k: v for k, v in fields.items() if k != name})
    with pytest.raises(ConfigError, match="must be a mapping"):
        SecurityRequirements.from_fields([*fields.items()])  # type: ignore[arg-type]


def test_a_forged_pickle_is_checked() -> None:
    forged = pickle.dumps(RESTRICTED).replace(b"restricted", b"lenient---")
    with pytest.raises(ConfigError, match="no level 'lenient---'"):
        pickle.loads(forged)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["/a", "/a/b", "/ab", "/a/bc", "/a/b/c"]), min_size=2, max_size=2))
def test_read_only_and_writable_agree_with_a_model_of_components(pair: list[str]) -> None:
    written, read = pair
    inside = read.split("/")[: len(written.split("/"))] == written.split("/")
    try:
        made = RESTRICTED.with_file_access(written).with_read_only(read)
    except ConfigError:
        assert inside
    else:
        assert not inside
        assert made == RESTRICTED.with_read_only(read).with_file_access(written)
