// Which of the nodes near to one it links to: algorithm 4 of the HNSW paper, and where that leaves
// few, others by the wider rule of Vamana (Subramanya et al. 2019).
#pragma once

#include <span>
#include <vector>

#include "index/graph.hpp"
#include "index/search.hpp"
#include "index/storage.hpp"

namespace llmspell::index {

// Keeps of `candidates`, sorted by key, those nearer to the node than to any kept before, at most
// `limit`. Where those are fewer than half as many, those follow that aren't much nearer to one
// kept before, until there are half as many. Of equal vectors it keeps one: else a node with many
// copies would link to nothing but copies.
void select_neighbours(const Storage& storage, std::vector<Candidate>& candidates,
                       std::size_t limit, std::vector<Slot>& selected, SearchContext& context);

// The first of `candidates` that aren't among `links`, for the places that these leave in a row of
// layer 0; none where walks don't read whole rows.
std::vector<Slot> choose_extras(const std::vector<Candidate>& candidates,
                                std::span<const Slot> links, const Params& params);

// Gives a node the links chosen among context.candidates, the nearest first, and what of its former
// ones is among these, as far as there is room: a node whose neighbours are deleted again and again
// would end with few if it chose anew each time. Those it newly links to link back where they have
// room. Where others link too, `locks` are theirs.
void exchange_links(const Storage& storage, Graph& graph, const Params& params, Slot slot,
                    int level, SearchContext& context, NodeLocks* locks = nullptr);

}  // namespace llmspell::index
