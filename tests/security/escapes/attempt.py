"""What one attempt to get out of the sandbox is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Proof = Literal["secret", "changed", "done", "lives"]

SAFE: Final = ("safe",)
LISTED: Final = ("safe", "restricted", "processes", "privileged")
#: Also with every file of the machine, which gives neither processes nor the network; and with
#: hosts that programs may reach by the broker, which gives no others.
ALL: Final = (*LISTED, "everything", "hosts")
FORKING: Final = ("processes", "privileged", "everything", "hosts")
PROGRAMS: Final = ("privileged",)


@dataclass(frozen=True)
class Attempt:
    """A function of a module in ``attempts/``, and by what it shows that it succeeded.

    Args:
        name: module and function.
        proof: it returns a "secret" or "done"; or something is "changed"; or a process "lives".
        on: profiles in which it must not succeed.
        timeout: of the call; by default what the profile has.
        may_take: whether it may be ended for what it took.
        may_wait: whether it may be ended by its timeout.
        may_die: whether it may be ended by the kernel.
        swaps: whether links are swapped beneath it.
        needs: a field of HostSupport, where nothing else holds it.
        machine: of which it is, where it is of one.
        flaws: profiles in which it does succeed, and why.
    """

    name: str
    proof: Proof = "done"
    on: tuple[str, ...] = ALL
    timeout: float | None = None
    may_take: bool = False
    may_wait: bool = False
    may_die: bool = False
    swaps: bool = False
    needs: str = ""
    machine: str = ""
    flaws: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def module(self) -> str:
        return self.name.partition(".")[0]

    @property
    def function(self) -> str:
        return self.name.partition(".")[2]
