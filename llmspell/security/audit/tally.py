"""What the details of counted events come to: sums, and the different values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from llmspell.security.audit.event import MAX_INT, clean_name, clean_value

__all__ = ["SUBJECTS", "TENANTS", "Tally"]

#: Names of the details that tell whose events, and of what, one record stands for.
SUBJECTS: Final = "subjects"
TENANTS: Final = "tenants"

#: Of numbers by these names a sum says nothing: they are told as texts are.
_CODES: Final = frozenset({"code", "errno", "exit_code", "hops", "pid", "port", "signal", "status"})
_MAX_NAMES: Final = 16
#: Different ones by one name, and bytes of each. The details of a record have 3 KiB.
_MAX_VALUES: Final = 8
_VALUE_BYTES: Final = 64
#: A record has lists of 16, of which the last says that there were more.
_MAX_SUBJECTS: Final = 15
_SUBJECT_BYTES: Final = 128
_CUT: Final = "[cut]"


class _Different:
    """The first of the different values by one name, redacted when they come."""

    __slots__ = ("_known", "_limit", "_most", "shown")

    def __init__(self, most: int, limit: int) -> None:
        self._most = most
        self._limit = limit
        self._known: set[tuple[type, object]] = set()
        self.shown: list[Any] = []

    def take(self, value: object, name: str) -> None:
        # Of a text its hash, which is drawn per process, lest a secret be kept here.
        known = (type(value), hash(value) if isinstance(value, str) else value)
        if known in self._known or len(self.shown) > self._most:
            return
        if len(self.shown) == self._most:
            self.shown.append(_CUT)
            return
        self._known.add(known)
        self.shown.append(clean_value(value, name, self._limit))


class _Named:
    """What came by one name."""

    __slots__ = ("largest", "name", "total", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.total: int | float | None = None
        self.largest: int | float = 0
        self.values = _Different(_MAX_VALUES, _VALUE_BYTES)

    def take(self, value: Any) -> None:
        if _is_number(value) and self.name not in _CODES:
            self.largest = value if self.total is None else max(self.largest, value)
            self.total = value if self.total is None else self.total + value
        else:
            is_plain = value is None or isinstance(value, (bool, str))
            self.values.take(value if is_plain else clean_value(value, "", _VALUE_BYTES), self.name)


class Tally:
    """Adds up the details of events, within a bound of memory. Not thread-safe."""

    __slots__ = ("_is_cut", "_named", "_subjects", "_tenants")

    def __init__(self) -> None:
        self._named: dict[str, _Named] = {}
        self._subjects = _Different(_MAX_SUBJECTS, _SUBJECT_BYTES)
        self._tenants = _Different(_MAX_SUBJECTS, _VALUE_BYTES)
        self._is_cut = False

    def take(self, details: Mapping[Any, Any] | None) -> None:
        """Those of one event."""
        if not details:
            return
        self._is_cut |= len(details) > _MAX_NAMES
        for key, value in islice(details.items(), _MAX_NAMES):
            name = str(key)[:128]
            named = self._named.get(name)
            if named is None:
                if len(self._named) == _MAX_NAMES:
                    self._is_cut = True
                    continue
                named = self._named[name] = _Named(clean_name(name))
            named.take(value)

    def take_subject(self, subject: str, tenant: str | None) -> None:
        """Of an event that isn't told apart: what it was of, and whose, where that isn't shown."""
        self._subjects.take(subject, "")
        if tenant is not None:
            self._tenants.take(tenant, "")

    def details(self) -> dict[str, Any]:
        """What a record tells of them all, the sums before what may be long."""
        told: dict[str, Any] = {}
        for named in self._named.values():
            if named.total is not None:
                told[f"{named.name}.sum"] = _rounded(named.total)
                told[f"{named.name}.max"] = _rounded(named.largest)
        for name, different in ((SUBJECTS, self._subjects), (TENANTS, self._tenants)):
            if different.shown:
                told[name] = different.shown
        for named in self._named.values():
            if named.values.shown:
                told.setdefault(named.name, named.values.shown)
        if self._is_cut:
            told[_CUT] = True
        return told


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -MAX_INT <= value <= MAX_INT
    return isinstance(value, float) and math.isfinite(value)


def _rounded(value: float) -> float:
    # Lest a sum of 0.1 and 0.2 have 17 digits.
    return round(value, 6) if isinstance(value, float) else value
