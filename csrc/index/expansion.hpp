// A best-first walk over layer 0 that can stop after any step and go on later: what it has come to
// and not passed yet lies on a heap without bound, where beam_search keeps the nearest alone.
#pragma once

#include <cstddef>

#include "index/search.hpp"

namespace llmspell::index {

// Takes the nearest node off the frontier and calls seen(candidate) for each of its neighbours that
// is not in `visited`; those for which it returns true are put on the frontier. `context` lends
// todo and keys.
template <class Seen, class Probe>
void expand(const Storage& storage, const Graph& graph, const Query& query, VisitedSet& visited,
            Frontier& frontier, SearchContext& context, const Seen& seen, Probe& probe) {
    const std::size_t fresh =
        fresh_links(storage, graph, frontier.pop().slot, 0, visited, context.todo.data());
    if (!frontier.empty()) graph.prefetch_links(frontier.front().slot);
    storage.keys(query, context.todo.data(), fresh, context.keys.data());
    probe.visited();
    probe.computed(fresh);
    for (std::size_t i = 0; i < fresh; ++i) {
        const Candidate candidate{context.keys[i], context.todo[i]};
        if (seen(candidate)) frontier.push(candidate);
    }
}

}  // namespace llmspell::index
