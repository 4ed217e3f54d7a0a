"""Records as a tenant's handle writes, reads and removes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from llmspell import Database, Tenant, errors


def vectors(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def test_record_comes_back_as_it_was_given(acme: Tenant) -> None:
    given = vectors(2)
    acme.upsert(["a", -7], given, [{"lang": "en", "n": [1, {"x": None}]}, None], ["Ada", None])
    first, second = acme.get(["a", -7])
    assert (first.id, first.text, first.metadata) == (
        "a",
        "Ada",
        {"lang": "en", "n": [1, {"x": None}]},
    )
    assert (second.id, second.text, second.metadata) == (-7, None, {})
    assert np.array_equal(first.vector, given[0])
    assert not first.vector.flags.writeable
    assert timedelta(0) <= datetime.now(UTC) - first.created_at < timedelta(minutes=1)
    assert acme.get("a").text == "Ada"


def test_int_and_str_ids_that_look_alike_differ(acme: Tenant) -> None:
    acme.upsert([1, "1"], vectors(2), texts=["int", "str"])
    assert acme.get(1).text == "int"
    assert acme.get("1").text == "str"
    assert acme.delete([1]) == 1
    assert acme.get("1").text == "str"


def test_ids_of_an_integer_array_come_back_as_int(acme: Tenant) -> None:
    acme.upsert(np.arange(3), vectors(3))
    hit = acme.search(vectors(3)[1], k=1)[0]
    assert (hit.id, type(hit.id)) == (1, int)


def test_upsert_replaces_vector_text_and_metadata(acme: Tenant) -> None:
    old, new = vectors(2)
    acme.upsert("a", old, {"v": 1}, "old")
    created = acme.get("a").created_at
    acme.upsert("a", new, {"v": 2}, "new")
    record = acme.get("a")
    assert (record.text, record.metadata, record.created_at) == ("new", {"v": 2}, created)
    assert record.updated_at > created
    assert acme.count() == 1
    assert acme.search(new, k=5)[0].text == "new"
    assert len(acme.search(old, k=5)) == 1


def test_a_nul_alone_is_an_id_as_others(acme: Tenant) -> None:
    acme.upsert(["\0", "a"], [[1.0, 0.0], [0.0, 1.0]])
    assert acme.get(["\0"])[0].id == "\0"
    assert acme.delete(["\0"]) == 1
    assert [record.id for record in acme.scan().records] == ["a"]
    assert not acme.scrub().damages


def test_last_of_equal_ids_in_a_batch_counts(acme: Tenant) -> None:
    acme.upsert(["a", "b", "a"], vectors(3), texts=["1", "2", "3"])
    assert acme.count() == 2
    assert acme.get("a").text == "3"
    assert np.array_equal(acme.get("a").vector, vectors(3)[2])


def test_deleted_record_is_never_found(acme: Tenant) -> None:
    given = vectors(50)
    acme.upsert(range(50), given)
    assert acme.delete([3, 4, 99]) == 2
    assert acme.delete([3]) == 0
    assert acme.count() == 48
    found = [hit.id for hit in acme.search(given[3], k=50)]
    assert len(found) == 48
    assert not {3, 4} & set(found)
    with pytest.raises(errors.IdNotFound, match="no record 3"):
        acme.get(3)


def test_get_of_several_names_what_is_missing(acme: Tenant) -> None:
    acme.upsert(["a"], vectors(1))
    with pytest.raises(errors.IdNotFound, match="'b', 'c'"):
        acme.get(["a", "b", "c"])


def test_records_outlive_the_database(db: Database, acme: Tenant, tmp_path: object) -> None:
    import llmspell

    acme.upsert(["a"], vectors(1), [{"k": "v"}], ["text"])
    db.close()
    with llmspell.open(db.path) as again:
        hit = again.tenant("acme").search(vectors(1)[0], k=1)[0]
        assert (hit.id, hit.text, hit.metadata) == ("a", "text", {"k": "v"})


def test_ids_without_an_order_are_taken_where_none_is_needed(acme: Tenant) -> None:
    acme.upsert({"a": 1, "b": 2}.keys(), [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(errors.InputError, match="order"):
        acme.get({"a", "b"})
    assert acme.delete({"a", "b"}) == 2


def test_empty_batch_does_nothing(acme: Tenant) -> None:
    acme.upsert([], [])
    assert acme.get([]) == []
    assert acme.delete([]) == 0
    assert acme.count() == 0


@pytest.mark.parametrize(
    ("ids", "given", "error", "match"),
    [
        (["a"], [[np.nan, 1.0]], errors.NonFiniteVector, "vector 0"),
        (["a"], [[1e300, 1.0]], errors.NonFiniteVector, "vector 0"),
        (["a", "b"], [[1.0, 0.0], [0.0, 0.0]], errors.ZeroVector, "vector 1"),
        (["a", "b"], [[1.0, 0.0]], errors.ShapeError, "2 ids, but 1 vectors"),
        (["a"], [[1.0], [1.0, 2.0]], errors.ShapeError, "equal length"),
        (["a", "b"], [1.0, 2.0], errors.ShapeError, r"\(2,\)"),
        (["a"], np.array([[1, 2]]), errors.DtypeError, "int64"),
        (["a"], [["x", "y"]], errors.DtypeError, "floats"),
        ([1.5], [[1.0, 2.0]], errors.InvalidId, "float"),
        ([True], [[1.0, 2.0]], errors.InvalidId, "bool"),
        ([1 << 63], [[1.0, 2.0]], errors.InvalidId, "64 bits"),
        ([""], [[1.0, 2.0]], errors.InvalidId, "1 to 510 bytes"),
        (["x" * 511], [[1.0, 2.0]], errors.InvalidId, "got 511"),
        (["\ud800"], [[1.0, 2.0]], errors.InvalidId, "Unicode"),
        (b"a", [[1.0, 2.0]], errors.InputError, "bytes"),
        ({"a", "b"}, [[1.0, 2.0]] * 2, errors.InputError, "ids must have an order, got set"),
    ],
)
def test_bad_input_is_refused_by_name_and_writes_nothing(
    acme: Tenant, ids: object, given: object, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        acme.upsert(ids, given)  # type: ignore[arg-type]
    assert acme.count() == 0


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ([{"a": object()}], r"metadata\['a'\]"),
        ([{"a": {"b": [1, {2}]}}], r"metadata\['a'\]\['b'\]\[1\].*set"),
        ([{1: "x"}], "a key must be a str"),
        ([{"a": float("nan")}], "nan"),
        ([{"a": 1 << 64}], "64 bits"),
        (["x"], "expected a mapping"),
        ([{"a": "\ud800"}], "invalid Unicode"),
        ([{"": 1}], "a str that isn't empty"),
        ("x", "expected a sequence"),
    ],
)
def test_metadata_that_is_not_json_like_is_refused(
    acme: Tenant, metadata: object, match: str
) -> None:
    with pytest.raises((errors.MetadataError, errors.InputError), match=match):
        acme.upsert(["a"], vectors(1), metadata)  # type: ignore[arg-type]


@pytest.mark.parametrize("texts", [["\ud800"], [b"x"], 7, ["a", "b"]])
def test_texts_that_are_none_are_refused(acme: Tenant, texts: object) -> None:
    with pytest.raises(errors.InputError):
        acme.upsert(["a"], vectors(1), texts=texts)  # type: ignore[arg-type]
    assert acme.count() == 0


def test_numbers_of_numpy_in_metadata_become_plain_ones(acme: Tenant) -> None:
    given = {"i": np.int32(3), "f": np.float32(0.5), "b": np.bool_(True), "t": (1, 2)}
    acme.upsert("a", vectors(1), given)  # type: ignore[arg-type]
    found = acme.get("a").metadata
    assert found == {"i": 3, "f": 0.5, "b": True, "t": [1, 2]}
    assert [type(value) for value in found.values()] == [int, float, bool, list]
    assert acme.search(vectors(1)[0], filter={"b": True, "f": {"$lt": 1}})[0].id == "a"


def test_second_dimension_is_refused_with_both_numbers(acme: Tenant) -> None:
    acme.upsert(["a"], vectors(1, 8))
    with pytest.raises(errors.DimensionMismatch, match="8 expected, got 9") as caught:
        acme.upsert(["b"], vectors(1, 9))
    assert (caught.value.expected, caught.value.actual) == (8, 9)
    assert acme.dim == 8
