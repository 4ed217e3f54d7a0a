"""All rules together: the state machine that the tests run."""

from __future__ import annotations

import sys
import traceback

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.isolation.copy_rules import CopyRules
from tests.isolation.foreign_rules import ForeignRules
from tests.isolation.machine import HANDS, NAMED, SEEDS, SHELL
from tests.isolation.record_rules import RecordRules
from tests.isolation.tenant_rules import TenantRules


class Rooms(RecordRules, TenantRules, CopyRules, ForeignRules):
    """Rules are public operations; each one's reply is searched for what is another tenant's."""

    @initialize(names=st.lists(NAMED, min_size=2, max_size=4, unique=True), hand=HANDS, seed=SEEDS)
    def begin(self, names: list[str], hand: int, seed: int) -> None:
        for which, name in enumerate(names):
            self.create(hand, name)
            self.put((hand + 3) % SHELL, which, [1, "a", "b"], seed, "upsert")
            self.ingest(hand, which, "x", [seed], is_object=False)

    def teardown(self) -> None:
        failure = sys.exception()
        try:
            if isinstance(failure, Exception):
                # A fault that comes by chance isn't there when hypothesis looks for it again.
                traceback.print_exception(failure)
            else:
                self.compare_all()
        finally:
            for name in self.tenants:
                self.database(0, "drop_tenant", name)
            super().teardown()

    def compare_all(self) -> None:
        """Each tenant is what it should be, as each process sees it."""
        for hand in range(1, SHELL, 2):
            for tenant in self.tenants.values():
                self.database(hand, "resume_tenant", tenant.name, of=(tenant,))
                self.everything(hand, tenant, limit=3 + hand)
