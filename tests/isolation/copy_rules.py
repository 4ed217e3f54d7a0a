"""Rules of copies: exports, snapshots, restored tenants and clones, of a tenant and of others."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.isolation.machine import DOORS, HANDS, NAMED, WHICH, Machine, where
from tests.isolation.model import MARK, Tenant


class CopyRules(Machine):
    """A copy holds what its tenant held at that moment; nothing of either comes to the other."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        #: Snapshots that were taken, and what they hold.
        self.copies: list[tuple[Path | bytes, Tenant]] = []
        self.numbers = 0

    @rule(door=DOORS, other=DOORS, which=WHICH)
    @where(lambda self: self.tenants)
    def export_and_import(self, door: int, other: int, which: int) -> None:
        tenant = self.pick(which)
        reply = self.ask(door, "export", tenant)
        if not self.expect(reply, tenant, writes=False) or tenant.suspension != "none":
            return
        assert not self.ask(0, "delete", tenant, filter={}).error
        # A document is there without its chunks, where they went by a filter.
        back = self.ask(other, "import_from", tenant, reply.value, on_conflict="replace")
        assert not back.error, back.said

    @rule(door=DOORS, other=DOORS, which=WHICH, step=WHICH)
    @where(lambda self: len(self.tenants) > 1)
    def import_what_is_foreign(self, door: int, other: int, which: int, step: int) -> None:
        """A tenant then holds what the file holds, and no more; the other is as it was."""
        tenant, source = self.pair(which, step)
        reply = self.ask(door, "export", source)
        if not self.expect(reply, source, writes=False):
            return
        held = copy.deepcopy(source)
        source.renumber()
        cut = reply.value[:-1]
        refused = self.ask(other, "import_from", tenant, cut, on_conflict="replace")
        wanted = {
            "none": ("CorruptFile",),
            "writes": ("CorruptFile", "TenantSuspended"),
            "all": ("TenantSuspended",),
        }
        assert refused.error in wanted[tenant.suspension], refused.said
        tenant.numbers |= held.numbers
        back = self.ask(other, "import_from", tenant, reply.value, on_conflict="replace")
        if not (held.records or held.documents) and tenant.suspension == "writes":
            return  # there is nothing to write
        if self.expect(back, tenant, writes=True):
            tenant.take_in(held)

    @rule(hand=HANDS, which=WHICH)
    @where(lambda self: self.tenants)
    def snapshot_by_handle(self, hand: int, which: int) -> None:
        tenant = self.pick(which)
        reply = self.ask(hand, "snapshot", tenant)
        if self.expect(reply, tenant, writes=False):
            self.keep(reply.value, tenant)

    @rule(door=DOORS, which=WHICH, end=st.sampled_from([".tar", "", None]))
    @where(lambda self: self.tenants)
    def snapshot(self, door: int, which: int, end: str | None) -> None:
        """To a file, to a directory, or as bytes; of a suspended tenant too."""
        tenant = self.pick(which)
        target = None
        if end is not None or self.doors[door].is_shell:
            self.numbers += 1
            target = self.folder / f"{self.numbers}{end or ''}"
        reply = self.database(door, "snapshot_tenant", tenant.name, target, of=(tenant,))
        assert not reply.error, reply.said
        self.keep(reply.value if target is None else target, tenant)

    def keep(self, taken: Path | bytes, tenant: Tenant) -> None:
        """A snapshot, which holds what the tenant holds now and nothing of others."""
        if isinstance(taken, Path):
            assert shown_in(taken) <= tenant.marks()
        self.copies.append((taken, copy.deepcopy(tenant)))
        tenant.renumber()

    @rule(door=DOORS, hand=HANDS, name=NAMED, at=WHICH, replace=st.booleans())
    @where(lambda self: self.copies)
    def restore(self, door: int, hand: int, name: str, at: int, replace: bool) -> None:
        """Under any name, that of another tenant too, which goes then with all that it holds."""
        source, held = self.copies[at % len(self.copies)]
        if self.doors[door].is_shell and isinstance(source, bytes):
            path = self.folder / "source.tar"
            path.write_bytes(source)
            source = path
        old = self.tenants.get(name)
        if isinstance(source, bytes):
            given = source[:-1]
            cut = self.database(door, "restore_tenant", given, tenant_id=name, replace=True)
            assert cut.error == "CorruptFile", cut.said
        of = (held,) if old is None else (held, old)
        reply = self.database(
            door, "restore_tenant", source, tenant_id=name, replace=replace, of=of
        )
        assert reply.error == ("TenantExists" if old and not replace else ""), reply.said
        if reply.error:
            return
        made = held.copied(name)
        if old is not None:
            self.retire(name)
            made.suspension, made.display = old.suspension, old.display
        self.enlist(made, reply.value)
        if made.suspension != "all":
            self.everything(hand, made, limit=7)

    @rule(door=DOORS, hand=HANDS, which=WHICH, name=NAMED)
    @where(lambda self: self.tenants)
    def clone(self, door: int, hand: int, which: int, name: str) -> None:
        source = self.pick(which)
        twin = source.copied(name)
        twin.display = twin.mark("name")
        given = source.name, name
        reply = self.database(door, "clone_tenant", *given, name=twin.display, of=(source, twin))
        assert reply.error == ("TenantExists" if name in self.tenants else ""), reply.said
        if not reply.error:
            self.enlist(twin, reply.value)
            self.everything(hand, twin, limit=7)

    def teardown(self) -> None:
        for taken, _ in self.copies:
            if isinstance(taken, Path):
                shutil.rmtree(taken) if taken.is_dir() else taken.unlink()
        super().teardown()


def shown_in(taken: Path) -> set[str]:
    """Marks in a file, or in all files of a directory."""
    files = [path for path in taken.rglob("*") if path.is_file()] if taken.is_dir() else [taken]
    return {
        mark for path in files for mark in MARK.findall(path.read_bytes().decode(errors="replace"))
    }
