// Linking vectors into the graph: algorithms 1 and 4 of the HNSW paper.
#pragma once

#include <span>

#include "index/graph.hpp"
#include "index/search.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

// The level of a label under a seed: geometric with ratio 1 / m, independent of the order of
// insertion and of the number of threads.
int level_of(Label label, const Params& params) noexcept;

// Links every slot into the graph by `threads` threads. The caller holds the index for itself.
// Where there are rows of four bits a dimension, of all slots, walks go by these, and what they
// find is chosen from by the stored rows. With one thread the result depends on the order of
// `slots` alone. Afterwards a walk from the entry on layer 0 comes to every node. Where it throws,
// the graph is half linked: clear it.
void link_all(const Storage& storage, Graph& graph, const Params& params,
              std::span<const Slot> slots, unsigned threads, const Sq4* rounded = nullptr);

// Makes the tree of the graph anew, and links the nodes again that no walk from the entry on layer
// 0 comes to. The caller holds the index for itself.
void reconnect(const Storage& storage, Graph& graph, const Params& params);

// Keeps of `candidates`, sorted by key, those nearer to the node than to any kept before, at most
// `limit` (algorithm 4). Of equal vectors it keeps one: else a node with many copies would link to
// nothing but copies.
void select_neighbours(const Storage& storage, std::vector<Candidate>& candidates,
                       std::size_t limit, std::vector<Slot>& selected, SearchContext& context);

// The first of `candidates` that aren't among `links`, for the places that these leave in a row of
// layer 0; none where walks don't read whole rows.
std::vector<Slot> choose_extras(const std::vector<Candidate>& candidates,
                                std::span<const Slot> links, const Params& params);

}  // namespace llmspell::index
