// Search by rows of four bits a dimension, which quantization sq4 keeps: the walk that goes by
// stored rows elsewhere, over rows an eighth as long as those of float32.
#include "base/parallel.hpp"
#include "index/coded.hpp"

namespace llmspell::index {

void CodedGraph::round(const Storage& storage, std::span<const Slot> slots, unsigned threads) {
    if (!refined_) return;
    refined_->resize(storage.capacity());  // so that the storage decides how much room to make
    parallel_for(
        slots.size(), slots.size() < 256 ? 1 : threads,
        [&] { return std::vector<float>(storage.quantiser().dim()); },
        [&](std::size_t i, std::vector<float>& vector) {
            storage.quantiser().decode(storage.row(slots[i]), vector.data());
            refined_->set(slots[i], vector.data());
        });
    round_ = rounding_tells_neighbours(storage, slots);
    if (!round_) drop_rounded();
}

void CodedGraph::drop_rounded() noexcept {
    if (refined_) refined_->clear();
    round_ = false;
}

// Where the walk of layer 0 begins, by the query in context.sq4.
template <class Probe>
Candidate CodedGraph::approach(const FourBitRows& rows, const Graph& graph, SearchContext& context,
                               Probe& probe) const {
    context.prepare(graph.slots(), graph.degree_limit(0));
    const Graph::Top top = graph.top();
    Candidate start{0.0f, top.slot};
    rows.keys(context.sq4, &start.slot, 1, &start.key);
    return descend(rows, graph, context.sq4, start, top.level, 0, context, probe);
}

template <class Probe>
void CodedGraph::search_rounded(const Storage& storage, const Graph& graph, const float* vector,
                                const Query& query, std::size_t ef, std::size_t wanted,
                                SearchContext& context, Slot passed_by, Probe& probe) const {
    refined_->query(codes_.kernels(), vector, context.sq4);
    const FourBitRows rows(*refined_, codes_.kernels(), context.products);
    std::vector<Slot>& found = context.todo;
    // Room for as many as there are on average of those that can't be returned, twice over.
    const std::size_t hidden = storage.hidden();
    std::size_t width = ef + 2 * ef * hidden / (storage.live() + hidden);
    for (;; width *= 2) {
        const Candidate start = approach(rows, graph, context, probe);
        if (passed_by != kNoSlot) context.visited.insert(passed_by);
        beam_search(rows, graph, context.sq4, start, 0, width, 0, AcceptAll{}, context, probe);
        const std::size_t size = context.beam.size();
        found.clear();
        if (context.keys.size() < size) context.keys.resize(size);
        for (std::size_t i = 0; i < size; ++i) {
            if (!storage.is_live(context.beam[i].slot)) continue;
            context.keys[found.size()] = context.beam[i].key;
            found.push_back(context.beam[i].slot);
        }
        if (found.size() >= wanted || size < width) break;
    }
    if (found.size() > wanted) drop_distant(wanted, context);
    compare(storage, query, wanted, context);
}

// As Searcher's walk by the stored rows; false where it gave up.
template <class Probe>
bool CodedGraph::walk_rounded(const Storage& storage, const Graph& graph, const float* vector,
                              const Query& query, std::size_t ef, std::size_t wanted,
                              const Allowed& allowed, std::size_t max_steps, SearchContext& context,
                              Probe& probe) const {
    refined_->query(codes_.kernels(), vector, context.sq4);
    const FourBitRows rows(*refined_, codes_.kernels(), context.products);
    const Candidate start = approach(rows, graph, context, probe);
    if (!beam_search(rows, graph, context.sq4, start, 0, ef, max_steps, allowed, context, probe) ||
        context.accepted.size() < wanted) {
        return false;
    }
    const std::size_t size = context.accepted.size();
    context.todo.resize(size);
    context.keys.resize(std::max(context.keys.size(), size));
    for (std::size_t i = 0; i < size; ++i) {
        context.todo[i] = context.accepted[i].slot;
        context.keys[i] = context.accepted[i].key;
    }
    if (size > wanted) drop_distant(wanted, context);
    compare(storage, query, wanted, context);
    return true;
}

template void CodedGraph::search_rounded(const Storage&, const Graph&, const float*, const Query&,
                                         std::size_t, std::size_t, SearchContext&, Slot,
                                         Unwatched&) const;
template void CodedGraph::search_rounded(const Storage&, const Graph&, const float*, const Query&,
                                         std::size_t, std::size_t, SearchContext&, Slot,
                                         Watched&) const;
template bool CodedGraph::walk_rounded(const Storage&, const Graph&, const float*, const Query&,
                                       std::size_t, std::size_t, const Allowed&, std::size_t,
                                       SearchContext&, Unwatched&) const;
template bool CodedGraph::walk_rounded(const Storage&, const Graph&, const float*, const Query&,
                                       std::size_t, std::size_t, const Allowed&, std::size_t,
                                       SearchContext&, Watched&) const;

}  // namespace llmspell::index
