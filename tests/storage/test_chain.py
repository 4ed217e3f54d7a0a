"""Tables whose misses can be trusted, against a dict; and every entry damaged in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import CorruptFile
from llmspell.storage.chain import FIRST, Chain
from llmspell.storage.environment import Environment
from llmspell.storage.transaction import Transaction

KEYS = st.binary(min_size=1, max_size=3).filter(lambda key: key > b"\0\0")
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "pop", "get", "items"]), KEYS, st.binary(max_size=3)),
    max_size=40,
)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    path: Path = tmp_path_factory.mktemp("chain") / "env"
    Environment.create(path, [b"t"], lambda txn, dbs: Chain.create(txn, dbs[b"t"]))
    environment = Environment(path, [b"t"], map_size=1 << 24)
    yield environment
    environment.close()


def in_transaction(env: Environment, body: Any) -> None:
    """Run and undo."""

    class Done(Exception):
        pass

    def run(txn: Transaction) -> None:
        body(txn, env.databases[b"t"], Chain(txn, env.databases[b"t"], "t"))
        raise Done

    with pytest.raises(Done):
        env.write(run)


def test_the_entry_before_all_keys_is_no_key(env: Environment) -> None:
    def body(txn: Transaction, database: Any, chain: Chain) -> None:
        chain.put(b"a", b"content")
        assert chain.get(FIRST) is None
        assert chain.pop(FIRST) is None
        assert list(chain.items()) == [(b"a", b"content")]

    in_transaction(env, body)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_table_answers_like_a_dict(env: Environment, steps: list[tuple[str, bytes, bytes]]) -> None:
    def body(txn: Transaction, database: Any, chain: Chain) -> None:
        model: dict[bytes, bytes] = {}
        for step, key, content in steps:
            if step == "put":
                chain.put(key, content)
                model[key] = content
            elif step == "pop":
                assert chain.pop(key) == model.pop(key, None)
            elif step == "get":
                assert chain.get(key) == model.get(key)
            else:
                expected = [(k, model[k]) for k in sorted(model) if k > key]
                assert list(chain.items(key)) == expected
        assert list(chain.items()) == sorted(model.items())

    in_transaction(env, body)


# Of so few keys most are looked for before they are written, as a write of records does.
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["get", "put", "pop"]), st.sampled_from([b"b", b"c", b"d", b"e"])
        ),
        max_size=16,
    )
)
def test_writes_behind_misses_keep_the_table_whole(
    env: Environment, steps: list[tuple[str, bytes]]
) -> None:
    def body(txn: Transaction, database: Any, chain: Chain) -> None:
        model: dict[bytes, bytes] = {}
        for number, (step, key) in enumerate(steps):
            if step == "get":
                assert chain.get(key) == model.get(key)
            elif step == "pop":
                assert chain.pop(key) == model.pop(key, None)
            else:
                model[key] = b"%d" % number
                chain.put(key, model[key])
        assert list(Chain(txn, database, "t").items()) == sorted(model.items())

    in_transaction(env, body)


@pytest.mark.parametrize("lost", [b"b", b"c", b"d", b"\0"])
def test_lost_entry_is_no_miss(env: Environment, lost: bytes) -> None:
    def body(txn: Transaction, database: Any, chain: Chain) -> None:
        for key in (b"b", b"c", b"d"):
            chain.put(key, key * 2)
        txn.delete(lost, db=database)
        asked = b"a" if lost == b"\0" else lost
        with pytest.raises(CorruptFile):
            chain.get(asked)
        with pytest.raises(CorruptFile):
            chain.put(asked, b"")
        with pytest.raises(CorruptFile):
            list(chain.items())

    in_transaction(env, body)


def test_flipped_bit_in_an_entry_is_named(env: Environment) -> None:
    def body(txn: Transaction, database: Any, chain: Chain) -> None:
        chain.put(b"b", b"content")
        raw = txn.get(b"b", db=database)
        assert raw is not None
        for bit in range(8 * len(raw)):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            txn.put(b"b", bytes(flipped), db=database)
            with pytest.raises(CorruptFile):
                chain.get(b"b")
        txn.put(b"b", b"", db=database)
        with pytest.raises(CorruptFile, match="cut short"):
            chain.get(b"b")

    in_transaction(env, body)


def test_a_survey_goes_on_behind_what_is_damaged(env: Environment) -> None:
    def body(txn: Transaction, database: Any, chain: Chain) -> None:
        keys = [bytes([n, n]) for n in range(1, 10)]
        for key in keys:
            chain.put(key, key)
        told: list[CorruptFile] = []
        raw = bytearray(txn.get(keys[3], db=database) or b"")
        raw[-1] ^= 1
        txn.put(keys[3], bytes(raw), db=database)
        txn.delete(keys[6], db=database)
        found = list(chain.survey(FIRST, told.append))
        assert found == [(key, None if key == keys[3] else key) for key in keys if key != keys[6]]
        assert [str(error).partition(": ")[2] for error in told] == [
            f"the checksum of {keys[3]!r} does not match",
            f"an entry before {keys[7]!r} is missing",
        ]
        # From each place, also a damaged or a missing one, all that is behind it comes.
        for after in keys:
            behind = [key for key, _ in chain.survey(after, told.append)]
            assert behind == [key for key in keys if key > after and key != keys[6]]
        told.clear()
        txn.delete(keys[8], db=database)
        assert [key for key, _ in chain.survey(keys[7], told.append)] == []
        assert "the last entries are missing" in str(told[0])

    in_transaction(env, body)
