"""Arguments judged by a schema that isn't ours: in bounded time, and without the network."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["MAX_STEPS", "mistakes_by"]

#: Schemas applied to values; one that names itself twice could take 2**n of them.
MAX_STEPS: Final = 20_000

#: Left to the judging that goes on in this thread.
_STEPS: Final = threading.local()


def mistakes_by(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[Any]:
    """What is wrong with arguments, as errors of ``jsonschema``.

    Raises:
        ValueError: it takes more than :data:`MAX_STEPS` steps.
        UnknownType, Unresolvable, RecursionError, TypeError: the schema can't be used.
    """
    import referencing

    registry: Any = referencing.Registry()  # which fetches nothing
    _STEPS.left = MAX_STEPS
    yield from _judge()(schema, registry=registry).iter_errors(arguments)


@functools.cache
def _judge() -> Any:
    import attrs
    import jsonschema  # type: ignore[import-untyped]

    plain = jsonschema.Draft202012Validator
    judge: Any = jsonschema.validators.extend(
        plain,
        # A pattern of theirs could take for ever, in this process, with the GIL held; and which
        # names those of patternProperties leave over can't be told without them.
        {
            "pattern": _nothing,
            "patternProperties": _nothing,
            "unevaluatedProperties": _nothing,
            "additionalProperties": _unless_by_pattern(plain.VALIDATORS["additionalProperties"]),
        },
    )

    def evolve(self: Any, **changes: Any) -> Any:
        """Judge by another schema, by the same rules: also where it has a ``$schema``."""
        _STEPS.left -= 1
        if _STEPS.left < 0:
            raise ValueError(f"it takes more than {MAX_STEPS:,} steps")
        return attrs.evolve(self, **changes)

    judge.evolve = evolve
    return judge


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _unless_by_pattern(rule: Any) -> Any:
    def judged(judge: Any, allowed: Any, value: Any, schema: Any) -> Any:
        return () if "patternProperties" in schema else rule(judge, allowed, value, schema)

    return judged
