"""What all rules stand on: how they ask, and how what comes back is searched and compared."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.isolation.elsewhere import SETTINGS, Door
from tests.isolation.hand import Reply
from tests.isolation.model import MARK, Held, Tenant

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
SHELL = 2 * len(SETTINGS)

#: Ways in that hold a handle.
HANDS = st.integers(0, SHELL - 1)
#: Those and the command line.
DOORS = st.integers(0, SHELL)
NAMED = st.sampled_from(NAMES)
#: Which of the tenants that there are.
WHICH = st.integers(0, 1_000)
KEYS = st.lists(st.integers(-5, 5) | st.sampled_from("abcdefgh"), min_size=1, max_size=6)
SEEDS = st.integers(0, 1 << 30)
VALUES = st.none() | st.integers(0, 4)


MachineT = TypeVar("MachineT", bound="Machine")
P = ParamSpec("P")
Body: TypeAlias = Callable[Concatenate[MachineT, P], None]


def where(
    condition: Callable[[MachineT], object],
) -> Callable[[Body[MachineT, P]], Body[MachineT, P]]:
    """Let a rule do nothing unless a condition holds.

    A precondition would let what is drawn depend on what the processes did before; what fails by
    chance then ends as a complaint about that, in place of the failure.
    """

    def decorate(body: Body[MachineT, P]) -> Body[MachineT, P]:
        @functools.wraps(body)
        def run(self: MachineT, *given: P.args, **named: P.kwargs) -> None:
            if condition(self):
                body(self, *given, **named)

        return run

    return decorate


class Machine(RuleBasedStateMachine):
    """The tenants as they should be, and ways to ask for them.

    Args:
        doors: as :func:`doors_to` gives them.
        folder: for copies of tenants.
    """

    #: Public operations that were asked for and did what they should, in whatever machine.
    asked: ClassVar[set[str]] = set()

    def __init__(self, doors: list[Door], folder: Path) -> None:
        super().__init__()
        self.doors = doors
        self.folder = folder
        self.tenants: dict[str, Tenant] = {}
        self.gone: list[Tenant] = []

    def pick(self, which: int) -> Tenant:
        return list(self.tenants.values())[which % len(self.tenants)]

    def pair(self, which: int, step: int) -> tuple[Tenant, Tenant]:
        """Two tenants."""
        return self.pick(which), self.pick(which + 1 + step % (len(self.tenants) - 1))

    def ask(self, door: int, what: str, tenant: Tenant, *given: Any, **named: Any) -> Reply:
        """Ask for an operation of a handle, and look for marks of other tenants."""
        at = tenant.name, tenant.generation
        return self._ask(door, f"Tenant.{what}", tenant.marks(), *at, *given, **named)

    def database(
        self, door: int, what: str, *given: Any, of: tuple[Tenant, ...] = (), **named: Any
    ) -> Reply:
        """Ask for an operation of a database, and look for marks but those of some tenants."""
        marks = {mark for tenant in of for mark in tenant.marks()}
        return self._ask(door, f"Database.{what}", marks, *given, **named)

    def _ask(self, number: int, what: str, own: set[str], *given: Any, **named: Any) -> Reply:
        door = self.doors[number]
        reply = door.ask(door.way, what, *given, **named)
        # What the caller gave may come back; a file is given to be read, and not to be shown.
        texts = [repr(arg) for arg in (*given, *named.values()) if not isinstance(arg, bytes)]
        given_by_us = {one for text in texts for one in MARK.findall(text)}
        seen = set(MARK.findall(reply.said))
        if isinstance(reply.value, bytes):
            seen.update(MARK.findall(reply.value.decode(errors="replace")))
        assert seen <= own | given_by_us, f"{what} {given[:1]} shows {seen - own - given_by_us}"
        assert not MARK.search(reply.metrics)
        if reply.asked:
            self.asked.add(reply.asked)
        return reply

    def expect(self, reply: Reply, tenant: Tenant, *, writes: bool, error: str = "") -> bool:
        """Whether a call was let through; where the tenant is suspended it must be refused."""
        is_refused = tenant.suspension == "all" or (writes and tenant.suspension == "writes")
        wanted = "TenantSuspended" if is_refused else error
        assert reply.error == wanted, f"{reply.error or 'no error'}, not {wanted}: {reply.said}"
        return not reply.error

    def wrote(self, door: int, tenant: Tenant) -> None:
        """Commit what a process lets wait, for the others to see it."""
        if self.doors[door].flushes_late:
            assert not self.ask(door, "flush", tenant).error

    def everything(self, hand: int, tenant: Tenant, limit: int) -> None:
        """Page by page it is what it should be."""
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

    def check_hits(
        self, hits: list[Any], query: np.ndarray, matching: dict[str | int, Held], k: int
    ) -> None:
        """They are the best ``k`` of what matches."""
        best = sorted((float(held.vector @ query) for held in matching.values()), reverse=True)
        np.testing.assert_allclose([hit[1] for hit in hits], best[:k], rtol=1e-4, atol=1e-3)
        for identity, score, text, metadata in hits:
            held = matching[identity]
            assert (text, metadata) == (held.text, held.metadata)
            assert score == pytest.approx(float(held.vector @ query), rel=1e-4, abs=1e-3)

    def enlist(self, tenant: Tenant, generation: int | None) -> None:
        """Know a tenant that was made; the shell doesn't tell its generation."""
        if generation is None:
            generation = self.database(0, "tenant", tenant.name).value
        assert isinstance(generation, int)
        tenant.generation = generation
        self.tenants[tenant.name] = tenant

    def retire(self, name: str) -> Tenant:
        tenant = self.tenants.pop(name)
        self.gone.append(tenant)
        return tenant
