"""Arithmetic: an expression in, a number out."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, Final

from llmspell.tools import tool

__all__ = ["calculator"]

_MAX_CHARS: Final = 1_000
#: Of a whole number on the way: what is larger takes time that no one asked for.
_MAX_BITS: Final = 1_024

_BINARY: Final[dict[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Final[dict[type, Callable[[Any], Any]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_NAMES: Final = {"pi": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    **{
        name: getattr(math, name)
        for name in (
            *("acos", "asin", "atan", "atan2", "ceil", "comb", "cos", "cosh", "degrees", "exp"),
            *("factorial", "floor", "gcd", "hypot", "isqrt", "lcm", "log", "log10", "log2", "perm"),
            *("radians", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
        )
    },
    **{"abs": abs, "max": max, "min": min, "round": round},
}
#: Their results grow faster than their arguments.
_GROWING: Final = frozenset({"comb", "factorial", "perm"})
_MAX_GROWING: Final = 170


@tool(idempotent=True)
def calculator(expression: str) -> int | float:
    """Compute an arithmetic expression, exactly where its numbers are whole.

    It may hold numbers, + - * / // % **, parentheses, pi, e and tau, and functions such as sqrt,
    log, sin, round, min, max, gcd and factorial.

    Args:
        expression: such as "2 * (3 + 4) ** 2" or "round(sqrt(2), 3)".
    """
    if len(expression) > _MAX_CHARS:
        raise ValueError(f"an expression has at most {_MAX_CHARS:,} characters")
    tree = ast.parse(expression.strip(), mode="eval")
    found = _value(tree.body)
    if not isinstance(found, int | float):
        raise ValueError("the result is no real number")
    return found


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _bounded(_combined(type(sign), _value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _FUNCTIONS:
            arguments = [_value(one) for one in given]
            if name in _GROWING and any(one > _MAX_GROWING for one in arguments):
                raise ValueError(f"{name} takes numbers of at most {_MAX_GROWING}")
            if name == "round" and any(abs(one) > _MAX_BITS for one in arguments[1:]):
                raise ValueError(f"round takes at most {_MAX_BITS:,} digits")  # it makes 10 ** them
            return _bounded(_FUNCTIONS[name](*arguments))
    raise ValueError(f"{ast.unparse(node)[:50]!r} is no arithmetic")


def _combined(sign: type, left: Any, right: Any) -> Any:
    is_whole = isinstance(left, int) and isinstance(right, int)
    if sign is ast.Pow and is_whole and left.bit_length() * abs(right) > _MAX_BITS:
        raise ValueError("the result is too large")
    return _BINARY[sign](left, right)


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > _MAX_BITS:
        raise ValueError("the result is too large")
    return number
