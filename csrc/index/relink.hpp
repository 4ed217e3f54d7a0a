// A second pass over a graph that was built vector by vector: each node is offered the nearest of
// all there are now, where it was linked among those that had come before it (compare the two
// passes of Vamana, Subramanya et al. 2019).
#pragma once

#include <functional>
#include <span>

#include "index/build.hpp"
#include "index/coded.hpp"

namespace llmspell::index {

// Links these nodes, which live and are in the graph, anew on layer 0, among `width` that a walk by
// codes finds. Searches may go on, and so may others that link, but nothing may be deleted; enter()
// is held for each node.
void relink(const Storage& storage, Graph& graph, const CodedGraph& coded, const Params& params,
            std::span<const Slot> slots, std::size_t width, unsigned threads, LinkLocks& locks,
            const std::function<SharedEntry()>& enter);

}  // namespace llmspell::index
