#include "index/relink.hpp"

#include <algorithm>

#include "base/parallel.hpp"
#include "index/select.hpp"

namespace llmspell::index {
namespace {

// Leaves in context.candidates what a walk finds near a node, and what the node links to, the
// nearest first.
void gather(const Storage& storage, const Graph& graph, const CodedGraph& coded, std::size_t width,
            Slot slot, SearchContext& context) {
    const Quantiser& quantiser = storage.quantiser();
    const Query query = quantiser.query_of_row(storage.row(slot), context.query);
    context.unit.resize(quantiser.dim());
    quantiser.decode(storage.row(slot), context.unit.data());
    coded.search(storage, graph, context.unit.data(), query, width, width, context, kNoSlot, false);
    std::vector<Candidate>& candidates = context.candidates;
    candidates.clear();
    for (std::size_t i = 0; i < context.accepted.size(); ++i) {
        if (context.accepted[i].slot != slot) candidates.push_back(context.accepted[i]);
    }
    const std::size_t found = candidates.size();
    std::vector<Slot> links(graph.degree_limit(0));
    links.resize(graph.copy_links(slot, 0, links.data()));
    std::vector<float> keys(links.size());
    storage.keys(query, links.data(), links.size(), keys.data());
    for (std::size_t i = 0; i < links.size(); ++i) {
        const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(found);
        const bool known = std::any_of(candidates.begin(), end,
                                       [&](const Candidate& c) { return c.slot == links[i]; });
        if (!known) candidates.push_back({keys[i], links[i]});
    }
    std::sort(candidates.begin(), candidates.end(), nearer);
}

}  // namespace

void relink(const Storage& storage, Graph& graph, const CodedGraph& coded, const Params& params,
            std::span<const Slot> slots, std::size_t width, unsigned threads, LinkLocks& locks,
            const std::function<SharedEntry()>& enter) {
    parallel_for(
        slots.size(), threads, [] { return SearchContext{}; },
        [&](std::size_t i, SearchContext& context) {
            const SharedEntry entry = enter();
            gather(storage, graph, coded, width, slots[i], context);
            exchange_links(storage, graph, params, slots[i], 0, context, &locks.nodes);
        });
}

}  // namespace llmspell::index
