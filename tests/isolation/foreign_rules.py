"""Rules that give a tenant what belongs to another one, or to a former one of its name."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.isolation.machine import HANDS, NAMED, WHICH, Machine, where
from tests.tenancy.texts import DIM

VECTOR = np.ones(DIM, np.float32)
#: Every operation of a handle, as it is asked of a tenant that is no more.
STALE: dict[str, tuple[Any, ...]] = {
    "upsert": ([1], VECTOR[None]),
    "insert": (["new"], VECTOR[None]),
    "get": (1,),
    "delete": ([1],),
    "update_metadata": (1, {"seed": 1}),
    "search": (VECTOR,),
    "retrieve": ("text",),
    "scan": (),
    "document": ("x",),
    "documents": (),
    "chunks": ("x",),
    "export": (),
    "import_from": (b"no export",),
    "snapshot": (),
    "scrub": (),
    "ingest": ("x", "a line"),
    "execute": ("RunAgent", "x"),
    "operation": (1,),
    "state": ("get", "key"),
    "count": (),
    "calibrate": (),
    "estimated_recall": (),
    "dim": (),
    "flush": (),
    "usage": (),
}


class ForeignRules(Machine):
    """A foreign thing is unknown, or refused by name; it never leads to the tenant it is of."""

    @rule(hand=HANDS, which=WHICH, step=WHICH, at=WHICH)
    @where(lambda self: len(self.tenants) > 1)
    def foreign_id(self, hand: int, which: int, step: int, at: int) -> None:
        tenant, other = self.pair(which, step)
        foreign = [key for key in other.records if key not in tenant.records]
        if not foreign:
            return
        identity = foreign[at % len(foreign)]
        # The process has just had it in its hands, for the tenant that it is of.
        self.expect(self.ask(hand, "get", other, identity), other, writes=False)
        for ids in (identity, [identity]):
            reply = self.ask(hand, "get", tenant, ids)
            self.expect(reply, tenant, writes=False, error="IdNotFound")
        reply = self.ask(hand, "update_metadata", tenant, identity, {"seed": 1})
        self.expect(reply, tenant, writes=True, error="IdNotFound")
        reply = self.ask(hand, "delete", tenant, [identity])
        if self.expect(reply, tenant, writes=True):
            assert reply.value == 0

    @rule(hand=HANDS, which=WHICH, step=WHICH, kind=st.sampled_from(["metadata", "document"]))
    @where(lambda self: len(self.tenants) > 1)
    def foreign_filter(self, hand: int, which: int, step: int, kind: str) -> None:
        """It finds and removes what of the tenant itself has such metadata, as a copy has."""
        tenant, other = self.pair(which, step)
        value = {"metadata": other.mark("metadata"), "document": other.document("x", [])[0]}[kind]
        condition = {"of" if kind == "metadata" else "document": value}
        for one in (other, tenant):
            reply = self.ask(hand, "search", one, VECTOR, k=40, filter=condition)
            if self.expect(reply, one, writes=False):
                self.check_hits(reply.value, VECTOR, one.matching(condition), 40)
        matching = tenant.matching(condition)
        reply = self.ask(hand, "scan", tenant, filter=condition)
        if self.expect(reply, tenant, writes=False):
            assert [record[0] for record in reply.value[0]] == [
                record[0] for record in tenant.in_order() if record[0] in matching
            ]
        reply = self.ask(hand, "delete", tenant, filter=condition)
        if self.expect(reply, tenant, writes=True):
            assert reply.value == len(matching)
            for identity in matching:
                del tenant.records[identity]

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants)
    def foreign_cursor(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        for other in [*self.tenants.values(), *self.gone]:
            for cursor in other.cursors[-1:] if other is not tenant else ():
                reply = self.ask(hand, "scan", tenant, cursor=cursor)
                self.expect(reply, tenant, writes=False, error="InvalidCursor")

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.gone)
    def stale_handle(self, hand: int, which: int) -> None:
        former = self.gone[which % len(self.gone)]
        for what, given in STALE.items():
            reply = self.ask(hand, what, former, *given)
            assert reply.error == "TenantNotFound", f"{what}: {reply.said}"

    @rule(hand=HANDS, name=NAMED)
    def nobody(self, hand: int, name: str) -> None:
        """Operations of a database refuse a tenant that isn't there, whatever others are."""
        if name in self.tenants:
            return
        for what in (
            *("tenant", "scope", "update_tenant", "suspend_tenant", "resume_tenant"),
            *("drop_tenant", "scrub_tenant"),
        ):
            assert self.database(hand, what, name).error == "TenantNotFound"
        assert self.database(hand, "snapshot_tenant", name, None).error == "TenantNotFound"
        reply = self.database(hand, "clone_tenant", name, "clone of nobody")
        assert reply.error == "TenantNotFound"

    # --- work on a tenant's behalf

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants)
    def operation(self, hand: int, which: int) -> None:
        """It knows its tenant, by the scope of the guide too, and reaches no other."""
        tenant = self.pick(which)
        known = (
            tenant.name,
            tenant.generation,
            f"custom:tenant:{tenant.name}",
            f"Operation(tenant_id={tenant.name!r})",
        )
        reply = self.ask(hand, "operation", tenant, 3)
        if self.expect(reply, tenant, writes=False):
            assert reply.value == (*known, len(tenant.records))
        mark = tenant.mark("text")
        reply = self.ask(hand, "execute", tenant, "RunAgent", mark)
        if self.expect(reply, tenant, writes=False):
            assert reply.value == (*known, mark)
