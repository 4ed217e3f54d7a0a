"""Imports its own package upwards, and a neighbour of that."""

from neighbour import NAME

from ..weigh import weight  # noqa: TID252  # as a tool may


def depth():
    return [weight(4), NAME, __name__]
