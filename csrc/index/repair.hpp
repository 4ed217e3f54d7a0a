// Taking deleted nodes out of the graph, in the manner of FreshDiskANN (Singh et al. 2021,
// arXiv:2105.09613): a node that linked to a deleted one is offered that one's neighbours instead.
#pragma once

#include "index/build.hpp"

namespace llmspell::index {

// Removes every deleted slot from the graph and releases it. Afterwards every live node can be
// reached from the entry on layer 0. One pass over the graph; the caller holds the index for
// itself.
void remove_deleted(Storage& storage, Graph& graph, const Params& params);

// Makes a live node of the highest layer the entry; there is none where none lives.
void choose_entry(const Storage& storage, Graph& graph);

}  // namespace llmspell::index
