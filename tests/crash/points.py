"""Named points at which a process kills itself: in commit, snapshot, rename, trim and replay."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

import llmspell
from llmspell import Index
from llmspell.storage.environment import Environment
from llmspell.storage.lexical import view as lexical_view
from llmspell.storage.lexical.text_index import TextIndex
from llmspell.storage.payload_view import PayloadView
from llmspell.storage.snapshots import Snapshots
from llmspell.storage.store import TenantStore
from llmspell.storage.view import VectorView
from llmspell.storage.views import Views
from tests.crash.trace import Call

KILLED = -1


class Point(NamedTuple):
    """Within one function: before one of its system calls, or as it begins or ends.

    Args:
        owner: class or module of the function.
        name: of the function.
        calls: which calls count; none for its beginning or end.
        most: the kill comes before one of the first so many of them.
        at_end: without calls, whether it comes at the function's end.
    """

    owner: Any
    name: str
    calls: int = 0
    most: int = 1
    at_end: bool = False


_COMMITS = Call.WRITE | Call.SYNC
POINTS = {
    "commit, write or sync": Point(Environment, "write", _COMMITS, 4),
    "commit, behind its last write": Point(Environment, "write", Call.WRITTEN),
    "commit, behind it": Point(Environment, "write", at_end=True),
    "commit, before the ledger knows": Point(TenantStore, "apply", at_end=True),
    "views, before they follow": Point(Views, "follow"),
    "head, behind the views": Point(Views, "follow", at_end=True),
    "snapshot, write": Point(Index, "save", Call.WRITE, 6),
    "snapshot, sync of the file": Point(Index, "save", Call.SYNC),
    "snapshot, rename": Point(Index, "save", Call.NAME),
    "snapshot, sync of the directory": Point(Index, "save", Call.SYNC, 2),
    "snapshot, behind it": Point(Index, "save", at_end=True),
    "snapshot, removal of old ones": Point(Snapshots, "keep_newest", Call.NAME, 2),
    "payload snapshot": Point(PayloadView, "snapshot", _COMMITS | Call.NAME, 5),
    "words, commit of the engine": Point(TextIndex, "apply", _COMMITS | Call.NAME, 12),
    "words, behind the commit": Point(TextIndex, "apply", at_end=True),
    "words, snapshot": Point(lexical_view, "write_lexical", _COMMITS | Call.NAME, 6),
    "words, behind the snapshot": Point(lexical_view, "write_lexical", at_end=True),
    "trim, before it": Point(TenantStore, "trim"),
    "trim, write or sync": Point(TenantStore, "trim", _COMMITS, 4),
    "trim, behind it": Point(TenantStore, "trim", at_end=True),
    "opening, any call": Point(llmspell, "open", _COMMITS | Call.OPEN | Call.NAME | Call.MAP, 12),
    "replay, snapshot read": Point(Index, "load", at_end=True),
    "replay, under way": Point(VectorView, "_add_vectors", at_end=True),
    "replay, behind it": Point(VectorView, "_apply", at_end=True),
}
#: A writer comes to these as it opens, to all others as it writes.
AT_OPENING = frozenset(name for name in POINTS if name.startswith(("opening", "replay")))


def arm(name: str, nth: int) -> None:
    """Let this process kill itself at a point, from now on; under the recorder of record.c."""
    point = POINTS[name]
    original: Callable[..., Any] = getattr(point.owner, point.name)

    @functools.wraps(original)
    def watched(*given: Any, **named: Any) -> Any:
        if not point.calls and not point.at_end:
            os.kill(os.getpid(), signal.SIGKILL)
        _arm(point.calls, nth)
        try:
            result = original(*given, **named)
        finally:
            _arm(0, 0)
        if not point.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(point.owner, point.name, watched)


def _arm(calls: int, nth: int) -> None:
    ctypes.CDLL(None).crash_arm(calls, ctypes.c_long(nth), KILLED, 0, 0)
