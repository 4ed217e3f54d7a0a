"""What an audit finds wrong with an index, and what it did about it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmspell import _core

__all__ = ["GraphFaults", "IndexAudit", "IndexRepairs", "audit_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFaults:
    """What is wrong with the structure of an index's graph; all zero where nothing is.

    Attributes:
        missing: vectors that the graph doesn't hold.
        stale: nodes of the graph that are no vectors any more.
        bad_links: links to what is no node of their layer.
        repeated_links: links of a node to itself, or to another for the second time.
        unreachable: nodes that no walk on the bottom layer comes to from the entry point.
        islands: how many walks more it takes to come to these.
        unrooted: nodes that the tree from the entry point, which no change of links may cut, has
            lost.
        bad_entry: whether the entry point is no node of the highest layer.
    """

    missing: int = 0
    stale: int = 0
    bad_links: int = 0
    repeated_links: int = 0
    unreachable: int = 0
    islands: int = 0
    unrooted: int = 0
    bad_entry: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRepairs:
    """What an audit has mended.

    Attributes:
        dropped_nodes: stale nodes taken out of the graph.
        dropped_links: bad and repeated links.
        linked_nodes: nodes linked again that were missing, or out of reach on some layer.
        added_links: links to vectors that did not find themselves.
        lost: ids of those that still don't: looked for among many equal or nearly equal vectors,
            for example.
    """

    dropped_nodes: int
    dropped_links: int
    linked_nodes: int
    added_links: int
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAudit:
    """What :meth:`llmspell.Index.audit` found.

    Attributes:
        live: vectors in the index when the audit began.
        checked: vectors that were looked for by themselves.
        lost: ids of those that a search for one, at the index's ``ef_search``, did not find, nor
            any vector as near.
        recall: share of the 10 nearest of some of these that a search at the index's
            ``ef_search`` finds; None where there was none to ask for, or the graph is so damaged
            that no search went by it. Vectors that the index holds are found more easily than
            queries from elsewhere: it is for comparing an index with itself.
        faults: what is wrong with the graph.
        upper_unreachable: nodes of the graph's upper layers that no walk from above comes to.
            Builds leave some: they cost nothing but a little speed.
        repairs: what was done about it; None where that wasn't asked for.
    """

    live: int
    checked: int
    lost: tuple[int, ...]
    recall: float | None
    faults: GraphFaults
    upper_unreachable: int
    repairs: IndexRepairs | None

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong: no fault, and every vector that was checked found itself."""
        return not self.faults and not self.lost


def audit_of(
    core: _core.Index, sample: int, *, repair: bool, seed: int, threads: int
) -> IndexAudit:
    """The audit of a native index."""
    found = core.audit(sample, seed, threads, repair)
    faults = found["faults"]
    return IndexAudit(
        live=found["live"],
        checked=found["checked"],
        lost=tuple(found["lost"]),
        recall=found["recall"] if found["queries"] else None,
        upper_unreachable=faults.pop("upper_unreachable"),
        faults=GraphFaults(**faults),
        repairs=IndexRepairs(**found["mended"], lost=tuple(found["unmended"])) if repair else None,
    )
