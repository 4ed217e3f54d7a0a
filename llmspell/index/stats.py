"""What an index is made of: slots, the graph's nodes and links, bytes."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmspell import _core
from llmspell.index.calibration import RecallCurve, curves_of

__all__ = ["IndexMemory", "IndexStats", "stats_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMemory:
    """Bytes of the heap that an index holds, by part, with the room kept for more vectors.

    Attributes:
        vectors: the vectors as they are held.
        ids: the ids, and the table that finds a vector by its id.
        bottom_layer: links of the graph's bottom layer. With ``quantization="pq"`` most of it is
            the codes of the neighbours, which lie beside the links.
        upper_layers: links of the layers above.
        codes: with ``quantization="pq"`` the code of each vector.
        refined_codes: with ``quantization="sq4"``, and ``"pq"`` where vectors take more than
            3.5 times as much, four bits a dimension of each vector.
        codebook: what codes are made with, and the nodes where walks by codes start.
        scratch: kept from past searches for the next; grows with the number of searches that ran
            at the same time.
        mapped: of the file that the index was loaded from, besides: pages that processes share,
            and that come and go with the system's cache. Those that changes wrote to are this
            process's own, and still counted here.
    """

    vectors: int
    ids: int
    bottom_layer: int
    upper_layers: int
    codes: int
    refined_codes: int
    codebook: int
    scratch: int
    mapped: int

    @property
    def total(self) -> int:
        """All of them but what is mapped."""
        return sum(int(getattr(self, field.name)) for field in fields(self)) - self.mapped


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStats:
    """An index at one moment; see :meth:`llmspell.Index.stats`.

    Attributes:
        live: vectors in the index.
        deleted: slots whose vector was deleted and is still a way for searches to others; they
            are freed together, when there are enough of them.
        free: slots that the next vectors take.
        capacity: slots that there is memory for.
        degrees: ``degrees[d]`` nodes have ``d`` links on the bottom layer; empty without a graph.
        layers: ``layers[l]`` nodes are on layer ``l``, 0 being the bottom; empty without a graph.
        code_groups: with ``quantization="pq"`` how many groups of four bits a code has, which
            depends on the vectors; 0 where searches don't go by codes. Under ``l2`` each coordinate
            that stands beside a code counts as the four groups that it takes the place of.
        memory: bytes by part.
        calibration: what was measured of the recall of walks; see
            :meth:`llmspell.Index.calibration`.
    """

    live: int
    deleted: int
    free: int
    capacity: int
    degrees: tuple[int, ...]
    layers: tuple[int, ...]
    code_groups: int
    memory: IndexMemory
    calibration: tuple[RecallCurve, ...]

    @property
    def slots(self) -> int:
        """Slots in use or used before: live, deleted and free."""
        return self.live + self.deleted + self.free

    @property
    def graph_nodes(self) -> int:
        """Nodes of the graph, deleted ones included; 0 where answers are exact."""
        return sum(self.degrees)

    @property
    def edges(self) -> int:
        """Links on the bottom layer."""
        return sum(degree * nodes for degree, nodes in enumerate(self.degrees))

    @property
    def max_level(self) -> int:
        """The highest layer, -1 without a graph."""
        return len(self.layers) - 1


def stats_of(core: _core.Index) -> IndexStats:
    """The stats of a native index."""
    found = core.stats()
    return IndexStats(
        live=found["live"],
        deleted=found["deleted"],
        free=found["slots"] - found["live"] - found["deleted"],
        capacity=found["capacity"],
        degrees=tuple(found["degrees"]),
        layers=tuple(found["layers"]),
        code_groups=found["code_groups"],
        memory=IndexMemory(**found["memory"]),
        calibration=curves_of(core),
    )
