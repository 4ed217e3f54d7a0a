"""Rules of what an operator does with tenants: make, list, change, suspend, measure and drop."""

from __future__ import annotations

import numpy as np
import prometheus_client.parser
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.isolation.machine import DOORS, HANDS, NAMED, NAMES, SHELL, WHICH, Machine, where
from tests.isolation.model import Tenant
from tests.tenancy.texts import DIM


class TenantRules(Machine):
    """What is changed of one tenant is changed for all processes, and for no other tenant."""

    @rule(door=DOORS, name=NAMED)
    def create(self, door: int, name: str) -> None:
        tenant = Tenant(name)
        reply = self.database(door, "create_tenant", name, tenant.display)
        assert reply.error == ("TenantExists" if name in self.tenants else ""), reply.said
        if not reply.error:
            self.enlist(tenant, reply.value)
            if self.doors[door].is_shell:  # has the limits that are usual
                assert not self.database(0, "update_tenant", name, limits={}, of=(tenant,)).error

    @rule(hand=HANDS, names=st.lists(NAMED, min_size=1, max_size=2))
    def create_several(self, hand: int, names: list[str]) -> None:
        made = [Tenant(name) for name in names]
        given = [(tenant.name, tenant.display) for tenant in made]
        reply = self.database(hand, "create_tenants", *given)
        is_taken = len(set(names)) < len(names) or not self.tenants.keys().isdisjoint(names)
        assert reply.error == ("TenantExists" if is_taken else ""), reply.said
        for tenant, info in zip(made, reply.value or (), strict=False):
            assert info == (tenant.name, tenant.display, info[2], "none")
            self.enlist(tenant, info[2])

    @rule(door=DOORS, which=WHICH)
    @where(lambda self: self.tenants)
    def drop(self, door: int, which: int) -> None:
        tenant = self.pick(which)
        assert not self.database(door, "drop_tenant", tenant.name).error
        self.retire(tenant.name)

    @rule(hand=HANDS, which=WHICH, reads_stay=st.booleans())
    @where(lambda self: self.tenants)
    def suspend(self, hand: int, which: int, reads_stay: bool) -> None:
        tenant = self.pick(which)
        named = {"reads_stay": reads_stay, "of": (tenant,)}
        assert not self.database(hand, "suspend_tenant", tenant.name, **named).error
        tenant.suspension = "writes" if reads_stay else "all"

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants)
    def resume(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        assert not self.database(hand, "resume_tenant", tenant.name, of=(tenant,)).error
        tenant.suspension = "none"

    @rule(door=DOORS, which=WHICH)
    @where(lambda self: self.tenants)
    def rename(self, door: int, which: int) -> None:
        tenant = self.pick(which)
        tenant.renumber()
        tenant.display = tenant.mark("name")
        reply = self.database(door, "update_tenant", tenant.name, tenant.display, of=(tenant,))
        assert not reply.error, reply.said

    @rule(door=DOORS, hand=HANDS, which=WHICH, step=WHICH)
    @where(lambda self: len(self.tenants) > 1)
    def limit_one(self, door: int, hand: int, which: int, step: int) -> None:
        """Its writes are refused; those of the other tenant aren't."""
        tenant, other = self.pair(which, step)
        # What has expired makes room for as much.
        assert not self.database(hand, "purge_expired").error
        named = {"limits": {"max_vectors": 0}, "of": (tenant,)}
        assert not self.database(door, "update_tenant", tenant.name, **named).error
        for one, error in ((tenant, "QuotaExceeded"), (other, "")):
            one.renumber()
            identity, held = one.record("limited", step)
            given = [identity], held.vector[None], [held.metadata], [held.text]
            reply = self.ask(hand, "upsert", one, *given)
            if self.expect(reply, one, writes=True, error=error):
                one.records[identity] = held
                self.wrote(hand, one)
        assert not self.database(hand, "update_tenant", tenant.name, limits={}, of=(tenant,)).error

    @rule(hand=HANDS)
    def reopen(self, hand: int) -> None:
        assert not self.database(hand, "close").error

    # --- lists and figures

    @rule(door=DOORS, name=NAMED)
    def list_tenants(self, door: int, name: str) -> None:
        reply = self.database(door, "tenants", of=tuple(self.tenants.values()))
        known = sorted(self.tenants.values(), key=lambda tenant: tenant.name.encode())
        if self.doors[door].is_shell:
            assert reply.value == [(tenant.name, tenant.display) for tenant in known]
            return
        assert reply.value == [
            (tenant.name, tenant.display, tenant.generation, tenant.suspension) for tenant in known
        ]
        for one in {name, *self.tenants}:
            for what in ("tenant", "scope"):
                found = self.database(door, what, one)
                if one in self.tenants:
                    assert found.value == self.tenants[one].generation
                else:
                    assert found.error == "TenantNotFound"

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants)
    def look_at_handle(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        assert self.ask(hand, "id", tenant).value == tenant.name
        assert self.ask(hand, "generation", tenant).value == tenant.generation
        assert repr(tenant.name) in self.ask(hand, "config", tenant).value
        dim = self.ask(hand, "dim", tenant)
        assert dim.value in ((DIM,) if tenant.records else (DIM, None)), dim.said
        assert not self.database(hand, "path").error

    @rule(door=DOORS, which=WHICH)
    @where(lambda self: self.tenants)
    def usage(self, door: int, which: int) -> None:
        """It is the tenant's own; what has expired counts until a write or a purge."""
        tenant = self.pick(which)
        reply = self.ask(door, "usage", tenant)
        assert not reply.error, reply.said
        if self.doors[door].is_shell:
            assert reply.value >= len(tenant.records)
        else:
            vectors, documents = reply.value
            assert vectors >= len(tenant.records)
            assert documents == len(tenant.documents)

    @rule(door=DOORS)
    def figures(self, door: int) -> None:
        """Each tenant's series are its own, and a dropped one has none."""
        if self.doors[door].is_shell:
            stats = self.database(SHELL, "stats", of=tuple(self.tenants.values()))
            assert stats.value.keys() == self.tenants.keys()
            for name, vectors in stats.value.items():
                assert vectors >= len(self.tenants[name].records)
            assert not self.database(SHELL, "doctor").error
            return
        text = self.database(door, "metrics").value
        for family in prometheus_client.parser.text_string_to_metric_families(text):
            for sample in family.samples:
                if "tenant" in sample.labels:
                    tenant = self.tenants[sample.labels["tenant"]]
                    if sample.name == "llmspell_tenant_vectors":
                        assert sample.value >= len(tenant.records)

    # --- what is done now and then

    @rule(hand=HANDS)
    def purge_expired(self, hand: int) -> None:
        assert not self.database(hand, "purge_expired").error
        for tenant in self.tenants.values():
            if tenant.suspension == "none":
                assert self.ask(hand, "usage", tenant).value[0] == len(tenant.records)

    @rule(door=DOORS, which=WHICH)
    @where(lambda self: self.tenants)
    def scrub(self, door: int, which: int) -> None:
        tenant = self.pick(which)
        for reply in (
            self.database(door, "scrub"),
            self.database(door, "scrub_tenant", tenant.name),
        ):
            assert not reply.error, reply.said
            assert reply.value if self.doors[door].is_shell else "damages=()" in reply.value
        if not self.doors[door].is_shell:
            self.expect(self.ask(door, "scrub", tenant), tenant, writes=False)

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants)
    def tend(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        self.expect(self.ask(hand, "calibrate", tenant), tenant, writes=False)
        self.expect(self.ask(hand, "estimated_recall", tenant), tenant, writes=False)
        assert not self.ask(hand, "flush", tenant).error
        assert not self.database(hand, "flush").error
        assert self.ask(hand, "close", tenant).value == "ClosedError"

    @rule(hand=HANDS, seed=WHICH)
    def evict(self, hand: int, seed: int) -> None:
        """Many tenants in turn, of which a process keeps few open."""
        for tenant in [*self.tenants.values()] * 2:
            reply = self.ask(hand, "search", tenant, np.ones(DIM, np.float32), k=1 + seed % 9)
            if self.expect(reply, tenant, writes=False):
                query = np.ones(DIM, np.float32)
                self.check_hits(reply.value, query, tenant.records, 1 + seed % 9)

    @rule(hand=HANDS, door=DOORS, way=st.integers(0, 1), which=WHICH)
    @where(lambda self: any(one.suspension == "none" for one in self.tenants.values()))
    def drop_what_has_writes_waiting(self, hand: int, door: int, way: int, which: int) -> None:
        """They end with it, by a named error, and come to none of the same name."""
        late = next(number for number, one in enumerate(self.doors) if one.flushes_late) + way
        free = [one for one in self.tenants.values() if one.suspension == "none"]
        tenant = free[which % len(free)]
        identity, held = tenant.record("waits", which)
        assert not self.ask(late, "upsert", tenant, [identity], held.vector[None]).error
        assert not self.database(door, "drop_tenant", tenant.name).error
        self.retire(tenant.name)
        self.create(hand, tenant.name)
        for what in ("flush", "count"):
            assert self.ask(late, what, tenant).error == "TenantNotFound"
        assert not self.database(late, "flush").error
        for one in (late, hand):
            self.everything(one, self.tenants[tenant.name], limit=5)


assert len(NAMES) < 100, "so many have series of their own in the metrics"
