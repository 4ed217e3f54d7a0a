"""Several tenants, names and processes against a dict: nothing of one is seen by another."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.crash.trace import MEMORY
from tests.isolation.hand import Hand, Reply, serve
from tests.isolation.model import KINDS, Tenant
from tests.tenancy.texts import DIM

EXAMPLES = int(os.environ.get("LLMSPELL_ISOLATION_EXAMPLES", "30"))
STEPS = int(os.environ.get("LLMSPELL_ISOLATION_STEPS", "40"))
PROCESSES = 3

NAMES = [
    "acme",
    "acme-corp",
    "Acme",
    "../acme",
    "..",
    "acme/corp",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "🦀" * 128,
]
MARK = re.compile(r"<(?:" + "|".join(KINDS) + r")-\d{5}>")

HANDS = st.integers(0, PROCESSES - 1)
NAMED = st.sampled_from(NAMES)
#: Which of the tenants that there are.
WHICH = st.integers(0, 1_000)
KEYS = st.lists(st.integers(-5, 5) | st.sampled_from("abcdefgh"), min_size=1, max_size=6)
SEEDS = st.integers(0, 1 << 30)


class Elsewhere:
    """A hand in another process."""

    def __init__(self, data: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, data), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, what: str, *given: Any, **named: Any) -> Reply:
        self._line.send((what, given, named))
        reply: Reply = self._line.recv()
        return reply

    def close(self) -> None:
        self._line.send(None)
        self._process.join()
        assert self._process.exitcode == 0


class Rooms(RuleBasedStateMachine):
    """Rules are public operations; each one's reply is searched for what is another tenant's."""

    def __init__(self, hands: list[Hand | Elsewhere]) -> None:
        super().__init__()
        self.hands = hands
        self.tenants: dict[str, Tenant] = {}
        self.gone: list[Tenant] = []

    @initialize(names=st.lists(NAMED, min_size=2, max_size=4, unique=True), hand=HANDS, seed=SEEDS)
    def begin(self, names: list[str], hand: int, seed: int) -> None:
        for which, name in enumerate(names):
            self.create(hand, name)
            self.put((hand + 1) % PROCESSES, which, [1, "a", "b"], seed, "upsert")
            self.ingest(hand, which, "x", [seed])

    def teardown(self) -> None:
        try:
            for hand in range(PROCESSES):
                for tenant in self.tenants.values():
                    self.hands[hand].ask("resume", tenant.name)
                    self.everything(hand, tenant, limit=3 + hand)
        finally:
            for name in self.tenants:
                self.hands[0].ask("drop", name)

    # --- how rules ask

    def pick(self, which: int) -> Tenant:
        return list(self.tenants.values())[which % len(self.tenants)]

    def ask(self, hand: int, what: str, tenant: Tenant, *given: Any, **named: Any) -> Reply:
        """Ask for a tenant, and look for marks of others, but for those that were given."""
        reply = self.hands[hand].ask(what, tenant.name, tenant.generation, *given, **named)
        own = {tenant.mark(kind) for kind in KINDS}
        named_by_us = {one for arg in (*given, *named.values()) for one in MARK.findall(repr(arg))}
        seen = set(MARK.findall(reply.said))
        if isinstance(reply.value, bytes):
            seen.update(MARK.findall(reply.value.decode(errors="replace")))
        assert seen <= own | named_by_us, f"{what} of {tenant.name!r} shows {seen - own}"
        assert not MARK.search(reply.metrics)
        return reply

    def expect(self, reply: Reply, tenant: Tenant, *, writes: bool, error: str = "") -> bool:
        """Whether a call was let through; where the tenant is suspended it must be refused."""
        is_refused = tenant.suspension == "all" or (writes and tenant.suspension == "writes")
        wanted = "TenantSuspended" if is_refused else error
        assert reply.error == wanted, f"{reply.error or 'no error'}, not {wanted}: {reply.said}"
        return not reply.error

    def everything(self, hand: int, tenant: Tenant, limit: int) -> None:
        found: list[Any] = []
        cursor = None
        while True:
            page = self.ask(hand, "scan", tenant, limit=limit, cursor=cursor)
            assert not page.error, page.said
            records, cursor = page.value
            found.extend(records)
            if cursor is None:
                break
            tenant.cursors = [*tenant.cursors[-3:], cursor]
        assert found == tenant.in_order()
        assert self.ask(hand, "count", tenant).value == len(tenant.records)

    # --- tenants

    @rule(hand=HANDS, name=NAMED)
    def create(self, hand: int, name: str) -> None:
        reply = self.hands[hand].ask("create", name)
        assert reply.error == ("TenantExists" if name in self.tenants else "")
        if not reply.error:
            self.tenants[name] = Tenant(name, reply.value)

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH)
    def drop(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        assert not self.hands[hand].ask("drop", tenant.name).error
        del self.tenants[tenant.name]
        self.gone.append(tenant)

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH, reads_stay=st.booleans())
    def suspend(self, hand: int, which: int, reads_stay: bool) -> None:
        tenant = self.pick(which)
        self.hands[hand].ask("suspend", tenant.name, reads_stay)
        tenant.suspension = "writes" if reads_stay else "all"

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH)
    def resume(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        self.hands[hand].ask("resume", tenant.name)
        tenant.suspension = "none"

    @rule(hand=HANDS)
    def reopen(self, hand: int) -> None:
        assert not self.hands[hand].ask("reopen").error

    # --- writes

    @precondition(lambda self: self.tenants)
    @rule(
        hand=HANDS, which=WHICH, keys=KEYS, seed=SEEDS, what=st.sampled_from(["upsert", "insert"])
    )
    def put(self, hand: int, which: int, keys: list[str | int], seed: int, what: str) -> None:
        tenant = self.pick(which)
        made = [tenant.record(key, seed + i) for i, key in enumerate(keys)]
        ids = [identity for identity, _ in made]
        reply = self.ask(
            hand,
            what,
            tenant,
            ids,
            np.stack([held.vector for _, held in made]),
            [held.metadata for _, held in made],
            [held.text for _, held in made],
        )
        is_taken = len(set(ids)) < len(ids) or not tenant.records.keys().isdisjoint(ids)
        error = "DuplicateId" if what == "insert" and is_taken else ""
        if what == "insert" and error and reply.error == error:
            return  # an id given twice is refused before anything is asked
        if self.expect(reply, tenant, writes=True, error=error):
            tenant.records.update(made)

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH, key=KEYS, seed=SEEDS)
    def put_what_expires(self, hand: int, which: int, key: list[str | int], seed: int) -> None:
        tenant = self.pick(which)
        identity, held = tenant.record(key[0], seed)
        reply = self.ask(hand, "upsert", tenant, [identity], held.vector[None], ttl=1e-6)
        if self.expect(reply, tenant, writes=True):
            tenant.records.pop(identity, None)

    @precondition(lambda self: self.tenants)
    @rule(
        hand=HANDS,
        which=WHICH,
        key=st.sampled_from("xy"),
        lines=st.lists(SEEDS, min_size=1, max_size=4),
    )
    def ingest(self, hand: int, which: int, key: str, lines: list[int]) -> None:
        tenant = self.pick(which)
        given = tenant.document(key, [*lines, len(self.gone)])
        is_same = [
            held.text for held in tenant.records.values() if held.document == given[0]
        ] == given[1].split("\n")
        reply = self.ask(hand, "ingest", tenant, *given)
        if is_same and tenant.suspension == "writes":
            return  # there is nothing to write
        if self.expect(reply, tenant, writes=True):
            tenant.ingest(*given)

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH, at=WHICH, value=st.integers(0, 9))
    def update_metadata(self, hand: int, which: int, at: int, value: int) -> None:
        tenant = self.pick(which)
        own = list(tenant.records)
        identity = own[at % len(own)] if own else "nobody"
        reply = self.ask(hand, "update_metadata", tenant, identity, {"seed": value})
        if self.expect(reply, tenant, writes=True, error="" if own else "IdNotFound"):
            tenant.records[identity].metadata["seed"] = value

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH, keys=KEYS, seed=SEEDS)
    def delete(self, hand: int, which: int, keys: list[str | int], seed: int) -> None:
        tenant = self.pick(which)
        ids = [tenant.record(key, seed)[0] for key in keys] + [tenant.document("x", [])[0]]
        reply = self.ask(hand, "delete", tenant, ids)
        if self.expect(reply, tenant, writes=True):
            gone = sum(tenant.records.pop(identity, None) is not None for identity in ids)
            assert reply.value == gone + tenant.forget_document(ids[-1])

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH, value=st.integers(0, 9))
    def delete_by_filter(self, hand: int, which: int, value: int) -> None:
        tenant = self.pick(which)
        reply = self.ask(hand, "delete", tenant, filter={"seed": value})
        if self.expect(reply, tenant, writes=True):
            gone = tenant.matching({"seed": value})
            assert reply.value == len(gone)
            for identity in gone:
                del tenant.records[identity]

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, other=HANDS, which=WHICH)
    def export_and_import(self, hand: int, other: int, which: int) -> None:
        tenant = self.pick(which)
        reply = self.ask(hand, "export", tenant)
        if not self.expect(reply, tenant, writes=False) or tenant.suspension != "none":
            return
        assert not self.ask(other, "delete", tenant, filter={}).error
        # A document is there without its chunks, where they went by a filter.
        back = self.ask(other, "import_from", tenant, reply.value, on_conflict="replace")
        assert not back.error, back.said

    # --- reads

    @precondition(lambda self: self.tenants)
    @rule(
        hand=HANDS,
        which=WHICH,
        seed=SEEDS,
        k=st.integers(1, 40),
        value=st.none() | st.integers(0, 9),
    )
    def search(self, hand: int, which: int, seed: int, k: int, value: int | None) -> None:
        tenant = self.pick(which)
        condition = None if value is None else {"seed": value}
        query = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
        reply = self.ask(hand, "search", tenant, query, k=k, filter=condition)
        if self.expect(reply, tenant, writes=False):
            matching = tenant.matching(condition)
            best = sorted((float(held.vector @ query) for held in matching.values()), reverse=True)
            found = [score for _, score, _, _ in reply.value]
            np.testing.assert_allclose(found, best[:k], rtol=1e-4, atol=1e-3)
            for identity, score, text, metadata in reply.value:
                held = matching[identity]
                assert (text, metadata) == (held.text, held.metadata)
                assert score == pytest.approx(float(held.vector @ query), rel=1e-4, abs=1e-3)

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH, limit=st.integers(1, 9))
    def scan(self, hand: int, which: int, limit: int) -> None:
        tenant = self.pick(which)
        if tenant.suspension != "all":
            self.everything(hand, tenant, limit)
        else:
            self.expect(self.ask(hand, "scan", tenant), tenant, writes=False)

    # --- what belongs to another tenant, or to a former one

    @precondition(lambda self: len(self.tenants) > 1)
    @rule(hand=HANDS, which=WHICH, step=WHICH, at=WHICH)
    def foreign_id(self, hand: int, which: int, step: int, at: int) -> None:
        tenant, other = self.pick(which), self.pick(which + 1 + step % (len(self.tenants) - 1))
        foreign = [key for key in other.records if key not in tenant.records]
        if not foreign:
            return
        identity = foreign[at % len(foreign)]
        self.expect(
            self.ask(hand, "get", tenant, identity), tenant, writes=False, error="IdNotFound"
        )
        reply = self.ask(hand, "update_metadata", tenant, identity, {"seed": 1})
        self.expect(reply, tenant, writes=True, error="IdNotFound")
        reply = self.ask(hand, "delete", tenant, [identity])
        if self.expect(reply, tenant, writes=True):
            assert reply.value == 0
        condition = {"of": other.mark("metadata")}
        reply = self.ask(hand, "search", tenant, np.ones(DIM, np.float32), filter=condition)
        if self.expect(reply, tenant, writes=False):
            assert reply.value == []
        reply = self.ask(hand, "delete", tenant, filter=condition)
        if self.expect(reply, tenant, writes=True):
            assert reply.value == 0

    @precondition(lambda self: self.tenants)
    @rule(hand=HANDS, which=WHICH)
    def foreign_cursor(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        for other in [*self.tenants.values(), *self.gone]:
            for cursor in other.cursors[-1:] if other is not tenant else ():
                reply = self.ask(hand, "scan", tenant, cursor=cursor)
                self.expect(reply, tenant, writes=False, error="InvalidCursor")

    @precondition(lambda self: self.gone)
    @rule(hand=HANDS, which=WHICH)
    def stale_handle(self, hand: int, which: int) -> None:
        former = self.gone[which % len(self.gone)]
        vector = np.ones(DIM, np.float32)
        calls: list[tuple[Any, ...]] = [
            ("count",),
            ("get", 1),
            ("search", vector),
            ("scan",),
            ("export",),
            ("upsert", [1], vector[None]),
            ("delete", [1]),
            ("update_metadata", 1, {"seed": 1}),
            ("ingest", "x", "a line"),
            ("usage",),
        ]
        for what, *given in calls:
            reply = self.ask(hand, what, former, *given)
            assert reply.error == "TenantNotFound", f"{what}: {reply.said}"


@pytest.fixture
def hands() -> Iterator[list[Hand | Elsewhere]]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as base:
        data = Path(base, "data")
        made = [Hand(data), *(Elsewhere(data) for _ in range(PROCESSES - 1))]
        yield made
        for hand in made:
            hand.close()


@pytest.mark.timeout(300 + EXAMPLES * STEPS)
def test_rooms_agree_with_a_dict_and_show_nothing_of_each_other(
    hands: list[Hand | Elsewhere],
) -> None:
    logging.getLogger("llmspell").setLevel(logging.DEBUG)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Rooms(hands),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            # The steps that fail are few enough to read, and to make them fewer takes minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
