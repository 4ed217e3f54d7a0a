"""Rules that write and read records."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.isolation.machine import (
    DOORS,
    HANDS,
    KEYS,
    SEEDS,
    SHELL,
    VALUES,
    WHICH,
    Machine,
    where,
)
from tests.tenancy.texts import DIM, embed


class RecordRules(Machine):
    """Each rule is an operation of a handle; it does to a dict what it should do to the tenant."""

    @rule(
        hand=HANDS, which=WHICH, keys=KEYS, seed=SEEDS, what=st.sampled_from(["upsert", "insert"])
    )
    @where(lambda self: self.tenants)
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
            self.wrote(hand, tenant)

    @rule(hand=HANDS, which=WHICH, seed=SEEDS)
    @where(lambda self: self.tenants)
    def insert_what_is_new(self, hand: int, which: int, seed: int) -> None:
        tenant = self.pick(which)
        tenant.renumber()
        self.put(hand, which, ["new"], seed, "insert")

    @rule(hand=HANDS, which=WHICH, key=KEYS, seed=SEEDS)
    @where(lambda self: self.tenants)
    def put_what_expires(self, hand: int, which: int, key: list[str | int], seed: int) -> None:
        tenant = self.pick(which)
        identity, held = tenant.record(key[0], seed)
        reply = self.ask(hand, "upsert", tenant, [identity], held.vector[None], ttl=1e-6)
        if self.expect(reply, tenant, writes=True):
            tenant.records.pop(identity, None)
            self.wrote(hand, tenant)

    @rule(
        door=DOORS,
        which=WHICH,
        key=st.sampled_from("xy"),
        lines=st.lists(SEEDS, min_size=1, max_size=4),
        is_object=st.booleans(),
    )
    @where(lambda self: self.tenants)
    def ingest(self, door: int, which: int, key: str, lines: list[int], is_object: bool) -> None:
        tenant = self.pick(which)
        name, text, metadata = tenant.document(key, lines)
        if self.doors[door].is_shell:
            metadata = {}
            reply = self.ask(door, "ingest", tenant, name, text)
        elif is_object:
            reply = self.ask(door, "execute", tenant, "Ingest", name, text, metadata)
        else:
            reply = self.ask(door, "ingest", tenant, name, text, metadata)
        if tenant.documents.get(name) == (text, metadata) and tenant.suspension == "writes":
            return  # there is nothing to write
        if self.expect(reply, tenant, writes=True):
            tenant.ingest(name, text, metadata)

    @rule(hand=HANDS, which=WHICH, at=WHICH, value=st.integers(0, 9))
    @where(lambda self: self.tenants)
    def update_metadata(self, hand: int, which: int, at: int, value: int) -> None:
        tenant = self.pick(which)
        own = list(tenant.records)
        identity = own[at % len(own)] if own else "nobody"
        reply = self.ask(hand, "update_metadata", tenant, identity, {"seed": value})
        if self.expect(reply, tenant, writes=True, error="" if own else "IdNotFound"):
            tenant.records[identity].metadata["seed"] = value

    @rule(hand=HANDS, which=WHICH, keys=KEYS, seed=SEEDS)
    @where(lambda self: self.tenants)
    def delete(self, hand: int, which: int, keys: list[str | int], seed: int) -> None:
        tenant = self.pick(which)
        ids = [tenant.record(key, seed)[0] for key in keys] + [tenant.document("x", [])[0]]
        reply = self.ask(hand, "delete", tenant, ids)
        if self.expect(reply, tenant, writes=True):
            gone = sum(tenant.records.pop(identity, None) is not None for identity in ids)
            assert reply.value == gone + tenant.forget_document(ids[-1])

    @rule(hand=HANDS, which=WHICH, value=st.integers(0, 9))
    @where(lambda self: self.tenants)
    def delete_by_filter(self, hand: int, which: int, value: int) -> None:
        tenant = self.pick(which)
        reply = self.ask(hand, "delete", tenant, filter={"seed": value})
        if self.expect(reply, tenant, writes=True):
            gone = tenant.matching({"seed": value})
            assert reply.value == len(gone)
            for identity in gone:
                del tenant.records[identity]

    @rule(hand=HANDS, which=WHICH, key=st.sampled_from("xy"), is_append=st.booleans())
    @where(lambda self: self.tenants)
    def state(self, hand: int, which: int, key: str, is_append: bool) -> None:
        tenant = self.pick(which)
        value = tenant.mark("state")
        edit = ("append", key, value) if is_append else ("delete", key)
        reply = self.ask(hand, "state", tenant, *edit)
        if self.expect(reply, tenant, writes=True):
            held = tenant.state.pop(key, [])
            if is_append:
                tenant.state[key] = [*held, value]
        reply = self.ask(hand, "state", tenant, "items", key)
        if self.expect(reply, tenant, writes=False):
            assert reply.value == tenant.state.get(key, [])
        reply = self.ask(hand, "state", tenant, "scan")
        if self.expect(reply, tenant, writes=False):
            assert [one[0][0] for one in reply.value] == sorted(tenant.state)

    # --- reads

    @rule(hand=HANDS, which=WHICH, key=st.sampled_from("xy"))
    @where(lambda self: self.tenants)
    def documents(self, hand: int, which: int, key: str) -> None:
        tenant = self.pick(which)
        name, _, _ = tenant.document(key, [])
        left = tenant.chunks(name)
        error = "" if left else "IdNotFound"
        reply = self.ask(hand, "chunks", tenant, name)
        if self.expect(reply, tenant, writes=False, error=error):
            assert [chunk[2] for chunk in reply.value] == [held.text for held in left]
        reply = self.ask(hand, "document", tenant, name)
        if self.expect(reply, tenant, writes=False, error=error):
            assert reply.value[:2] == (name, left[0].metadata["version"])
        reply = self.ask(hand, "documents", tenant)
        if self.expect(reply, tenant, writes=False):
            names = {held.document for held in tenant.records.values()} - {None}
            assert [info[0] for info in reply.value[0]] == sorted(map(str, names))

    @rule(hand=HANDS, which=WHICH, seed=SEEDS, k=st.integers(1, 40), value=VALUES)
    @where(lambda self: self.tenants)
    def search(self, hand: int, which: int, seed: int, k: int, value: int | None) -> None:
        tenant = self.pick(which)
        condition = None if value is None else {"seed": value}
        query = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
        reply = self.ask(hand, "search", tenant, query, k=k, filter=condition)
        if self.expect(reply, tenant, writes=False):
            self.check_hits(reply.value, query, tenant.matching(condition), k)

    @rule(door=DOORS, which=WHICH, k=st.integers(1, 40), value=VALUES, is_object=st.booleans())
    @where(lambda self: self.tenants)
    def ask_all_the_same(
        self, door: int, which: int, k: int, value: int | None, is_object: bool
    ) -> None:
        """One text, of every tenant, one after the other: no cache answers for another tenant."""
        text = f"line {which} {self.pick(which).mark('text')}"
        condition = None if value is None else {"seed": value}
        for tenant in self.tenants.values():
            named: dict[str, Any] = {"k": k, "filter": condition}
            if self.doors[door].is_shell:
                named["filter"] = None if condition is None else json.dumps(condition)
                reply = self.ask(SHELL, "search", tenant, text, **named)
            elif is_object:
                reply = self.ask(door, "execute", tenant, "Search", text, **named)
            else:
                reply = self.ask(door, "search", tenant, [text, text], **named)
            if self.expect(reply, tenant, writes=False):
                is_batch = not self.doors[door].is_shell and not is_object
                for hits in reply.value if is_batch else [reply.value]:
                    self.check_hits(hits, embed([text])[0], tenant.matching(condition), k)

    @rule(
        hand=HANDS,
        which=WHICH,
        step=WHICH,
        value=VALUES,
        mode=st.sampled_from(["dense", "lexical", "hybrid"]),
    )
    @where(lambda self: len(self.tenants) > 1)
    def retrieve(self, hand: int, which: int, step: int, value: int | None, mode: str) -> None:
        """Words that every tenant's texts have find its own; those of another find none by it."""
        tenant, other = self.pair(which, step)
        condition = None if value is None else {"seed": value}
        matching = tenant.matching(condition)
        for query in ("text line", f"text line {other.mark('text')}"):
            reply = self.ask(hand, "retrieve", tenant, query, 40, mode=mode, filter=condition)
            if self.expect(reply, tenant, writes=False):
                wanted = {key for key, held in matching.items() if mode != "lexical" or held.text}
                found = {hit[0] for hit in reply.value}
                assert found <= wanted
                assert len(found) == min(len(wanted), 40)
                for identity, _, text, metadata, *_ in reply.value:
                    held = matching[identity]
                    assert (text, metadata) == (held.text, held.metadata)

    @rule(hand=HANDS, which=WHICH, k=st.integers(1, 40))
    @where(lambda self: self.tenants)
    def search_and_look_later(self, hand: int, which: int, k: int) -> None:
        tenant = self.pick(which)
        query = np.ones(DIM, np.float32)
        reply = self.ask(hand, "search", tenant, query, k=k, keep=True)
        self.expect(reply, tenant, writes=False)

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants or self.gone)
    def look(self, hand: int, which: int) -> None:
        """At hits from before what was written, evicted or dropped since: only ever its own."""
        every = [*self.tenants.values(), *self.gone]
        tenant = every[which % len(every)]
        reply = self.ask(hand, "look", tenant)
        wanted = ("", "TenantNotFound") if tenant in self.gone else ("", "TenantSuspended")
        assert reply.error in wanted, reply.said

    @rule(hand=HANDS, which=WHICH, at=st.integers(0, 3))
    @where(lambda self: self.tenants)
    def get(self, hand: int, which: int, at: int) -> None:
        tenant = self.pick(which)
        wanted = tenant.in_order()[at:][:3]
        reply = self.ask(hand, "get", tenant, [record[0] for record in wanted])
        if self.expect(reply, tenant, writes=False):
            assert reply.value == wanted

    @rule(hand=HANDS, which=WHICH, limit=st.integers(1, 9))
    @where(lambda self: self.tenants)
    def scan(self, hand: int, which: int, limit: int) -> None:
        tenant = self.pick(which)
        if tenant.suspension != "all":
            self.everything(hand, tenant, limit)
        else:
            self.expect(self.ask(hand, "scan", tenant), tenant, writes=False)
