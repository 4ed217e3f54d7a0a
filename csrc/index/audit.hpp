// Whether a graph is sound, whether vectors find themselves by it, and the mending of what isn't.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/graph.hpp"
#include "index/params.hpp"
#include "index/search.hpp"
#include "index/searcher.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

struct GraphFaults {
    std::size_t missing = 0;         // live vectors that are no nodes
    std::size_t stale = 0;           // nodes of free slots
    std::size_t bad_links = 0;       // that lead to no node of their layer
    std::size_t repeated_links = 0;  // to the node itself, or for the second time
    std::size_t unreachable = 0;     // nodes that no walk on layer 0 from the entry comes to
    std::size_t islands = 0;         // walks more that it takes to come to these
    std::size_t unrooted = 0;        // nodes from which parents don't lead to the entry
    bool bad_entry = false;          // no node, or none of the highest layer
    // Nodes of an upper layer that no walk from above comes to: no fault, for builds leave some,
    // but links that are of no use.
    std::size_t upper_unreachable = 0;

    bool sound() const noexcept {
        return missing + stale + bad_links + repeated_links + unreachable + unrooted == 0 &&
               !bad_entry;
    }
};

struct Mended {
    std::size_t dropped_nodes = 0;
    std::size_t dropped_links = 0;
    std::size_t linked_nodes = 0;  // that were missing, or out of reach on some layer
    std::size_t added_links = 0;   // to vectors that didn't find themselves
};

// Reads the graph whole, without trusting any of its links.
GraphFaults check_graph(const Storage& storage, const Graph& graph);

// Nodes that no way along the tree leads to, by links that are there.
std::size_t count_unrooted(const Graph& graph);

// Mends what check_graph counts, but for missing nodes. The caller holds the index for itself.
Mended mend_graph(const Storage& storage, Graph& graph, const Params& params);

// Whether a search for the nearest of a live vector finds one that is as near as it is itself. Else
// the vector that it found is context.accepted[0] or context.beam[0], and in `end`.
bool finds_itself(const Searcher& searcher, Slot slot, SearchContext& context, Slot* end = nullptr);

// Links from `end` to `slot`, in place of the farthest link that no walk depends on where there is
// no room. False where there is such a link already, or no other that may go.
bool guide(const Storage& storage, Graph& graph, Slot end, Slot slot);

// The share of the k nearest to a live vector, but for itself, that a search finds.
double recall_of(const Searcher& searcher, Slot slot, std::size_t k, SearchContext& context);

struct AuditOptions {
    std::size_t sample = 0;  // vectors that are looked for; 0: all
    std::uint64_t seed = 0;
    unsigned threads = 1;
    bool repair = false;
};

struct Audit {
    std::size_t live = 0, checked = 0;
    GraphFaults faults;
    std::vector<Label> lost;      // that don't find themselves
    std::size_t queries = 0;      // of `recall`
    double recall = 1.0;          // at 10
    Mended mended;                // where asked for
    std::vector<Label> unmended;  // of the lost
};

}  // namespace llmspell::index
