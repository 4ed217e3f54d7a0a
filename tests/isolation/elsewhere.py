"""Hands and shells in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from tests.isolation.hand import Hand, Reply, Way
from tests.isolation.shell import Shell

#: What each process opens the directory with: as it comes; so that hardly two tenants are open at
#: one time; and so that upserts wait until they are flushed.
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"max_open_descriptors": 9},
    {"durability": "batch", "flush_interval": 3_600.0, "write_batch_size": 10_000},
)


class Door(NamedTuple):
    """One way in: a process, and the objects that it uses."""

    ask: Callable[..., Reply]
    way: Way
    process: int
    flushes_late: bool = False
    is_shell: bool = False


class Elsewhere:
    """A hand or a shell in another process."""

    def __init__(self, make: Callable[..., Hand | Shell], data: Path, **settings: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        given = (theirs, make, data, settings)
        self._process = context.Process(target=_serve, args=given, daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, *given: Any, **named: Any) -> Reply:
        self._line.send((given, named))
        reply: Reply = self._line.recv()
        return reply

    def close(self) -> None:
        self._line.send(None)
        self._process.join()
        assert self._process.exitcode == 0


def _serve(
    line: Connection, make: Callable[..., Hand | Shell], data: Path, settings: dict[str, Any]
) -> None:
    logging.getLogger("llmspell").setLevel(logging.DEBUG)
    served = make(data, **settings)
    while (asked := line.recv()) is not None:
        given, named = asked
        line.send(served.ask(*given, **named))
    served.close()


@contextmanager
def doors_to(data: Path) -> Iterator[list[Door]]:
    """All ways into one data directory: sync and async ones of each process, and the shell's."""
    with ExitStack() as stack:
        hands: list[Hand | Elsewhere] = [Hand(data, **SETTINGS[0])]
        hands += [Elsewhere(Hand, data, **settings) for settings in SETTINGS[1:]]
        shell = Elsewhere(Shell, data)
        for one in (*hands, shell):
            stack.callback(one.close)
        made = [
            Door(hand.ask, way, process, "durability" in SETTINGS[process])
            for process, hand in enumerate(hands)
            for way in ("sync", "async")
        ]
        yield [*made, Door(shell.ask, "sync", len(hands), is_shell=True)]
