// Linking vectors into the graph: algorithms 1 and 4 of the HNSW paper.
#pragma once

#include <functional>
#include <mutex>
#include <span>

#include "index/gate.hpp"
#include "index/graph.hpp"
#include "index/search.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

// The level of a label under a seed: geometric with ratio 1 / m, independent of the order of
// insertion and of the number of threads.
int level_of(Label label, const Params& params) noexcept;

// What those who link into one graph at the same time share.
struct LinkLocks {
    NodeLocks nodes;
    std::mutex entry;
};

// Puts nodes without links into the graph, which is the caller's alone.
void add_nodes(const Storage& storage, Graph& graph, const Params& params,
               std::span<const Slot> slots);

// Links nodes by `threads` threads, beside searches and others who link. `enter` is called with
// each node before and gives the lock to hold meanwhile; one that holds nothing ends it all. Where
// there are rows of four bits a dimension, of all slots, walks go by these, and what they find is
// chosen from by the stored rows. With one thread the result depends on the order of `slots` alone.
// Afterwards a walk from the entry on layer 0 comes to every node. Where it throws, the graph is
// half linked: clear it.
void link_nodes(const Storage& storage, Graph& graph, const Params& params,
                std::span<const Slot> slots, unsigned threads, const Sq4* rounded, LinkLocks& locks,
                const std::function<SharedEntry(Slot)>& enter);

// Both, for a graph that is the caller's alone.
void link_all(const Storage& storage, Graph& graph, const Params& params,
              std::span<const Slot> slots, unsigned threads, const Sq4* rounded = nullptr);

// Makes the tree of the graph anew, and links the nodes again that no walk from the entry on layer
// 0 comes to; both without the doomed. Searches may go on; nobody else may link.
void reconnect(const Storage& storage, Graph& graph, const Params& params,
               std::span<const Slot> doomed = {});

}  // namespace llmspell::index
