// Search by codes in the graph's rows, and how what walks find is put in order.
#include <algorithm>

#include "index/coded.hpp"

namespace llmspell::index {
namespace {

// A walk that goes by distance takes at most so many times the steps it takes on average: hard
// queries gain little by more.
constexpr std::size_t kMostSteps = 2;

// Of a row that is fetched during the walk; the processor asks for the rest itself.
constexpr std::size_t kMostFetched = 2048;

}  // namespace

WalkRows CodedGraph::rows_of(const Graph& graph, const Storage& storage,
                             bool refine) const noexcept {
    WalkRows rows{graph.bottom_row(0), graph.row_bytes(), codes_.layout(), graph.guard(),
                  &graph.versions()};
    if (refine) {
        rows.later = reinterpret_cast<const std::byte*>(refined_->rows().data());
        rows.later_stride = rows.later_bytes = refined_->row_bytes();
    } else {
        rows.later = storage.row(0);
        rows.later_stride = storage.quantiser().row_bytes();
        rows.later_bytes = std::min(rows.later_stride, kMostFetched);
    }
    return rows;
}

void CodedGraph::search(const Storage& storage, const Graph& graph, const float* vector,
                        const Query& query, std::size_t ef, std::size_t wanted,
                        SearchContext& context, Slot passed_by, bool goes_by_reach) const {
    const RowLayout start_layout = codes_.layout().one_block();
    const WalkRows starts{starts_.rows.data(), start_layout.bytes(), start_layout};
    const bool refine = refines(ef, wanted);
    const WalkRows rows = rows_of(graph, storage, refine);
    const WalkQuery walk_query = codes_.query(vector, context.code);
    const auto walk = [&](std::size_t width, std::size_t most, const WalkReach& reach) {
        context.walk.reset(kept_of(most), most, reach);
        if (passed_by != kNoSlot) pass_by(passed_by, walk_query, context.walk);
        codes_.kernels().walk(starts, starts_.count, rows, walk_query, context.walk);
        count_walk(context.walk.steps, context);
        order(storage, context.walk, vector, query, wanted, refine, context);
        return context.accepted.size() >= wanted || context.walk.size < width;
    };
    // Room for as many as there are on average of those that can't be returned, twice over.
    const std::size_t hidden = storage.hidden();
    const auto with_hidden = [&](std::size_t count) {
        return count + 2 * count * hidden / (storage.live() + hidden);
    };
    std::size_t width = with_hidden(ef);
    if (goes_by_reach && reach_.known()) {
        const std::size_t k = with_hidden(wanted) + (passed_by == kNoSlot ? 0 : 1);
        walk(width, kMostSteps * width, reach_.at(k, width));
        if (context.accepted.size() >= wanted) return;
    }
    while (!walk(width, width, {})) width *= 2;
}

void CodedGraph::count_walk(std::size_t steps, SearchContext& context) const noexcept {
    context.visited_rows += steps;
    context.estimated += kBlock * (starts_.count + codes_.layout().blocks * steps);
}

// Whether what a walk keeps is ordered by four-bit rows first: of few, those would rule out too few
// to be worth reading.
bool CodedGraph::refines(std::size_t ef, std::size_t wanted) const noexcept {
    constexpr std::size_t kFew = 3;
    return round_ && ef >= kFew * wanted;
}

// Puts a node into a pool as one whose links were followed.
void CodedGraph::pass_by(Slot slot, const WalkQuery& query, WalkPool& pool) const {
    const RowLayout layout = codes_.layout().one_block();
    AlignedArray<std::byte> row;
    row.resize(layout.bytes());
    codes_.pack(row.data(), layout, std::span(&slot, 1));
    codes_.kernels().scan({row.data(), layout.bytes(), layout, nullptr}, 1, query, pool);
    if (pool.size > 0) pool.keys()[0] |= WalkPool::kExpanded | WalkPool::kFetched;
}

// Of a pool's nodes those that live, into context.todo.
void CodedGraph::order(const Storage& storage, const WalkPool& pool, const float* vector,
                       const Query& query, std::size_t wanted, bool refine,
                       SearchContext& context) const {
    std::vector<Slot>& found = context.todo;
    found.clear();
    for (std::size_t i = 0; i < pool.size; ++i) {
        if (storage.is_live(pool.slots()[i])) found.push_back(pool.slots()[i]);
    }
    if (context.keys.size() < found.size()) context.keys.resize(found.size());
    if (refine && found.size() > wanted) {
        context.estimated += found.size();
        refined_->query(codes_.kernels(), vector, context.sq4);
        refined_->keys(codes_.kernels(), context.sq4, found.data(), found.size(), context.products,
                       context.keys.data());
        drop_distant(wanted, context);
    }
    compare(storage, query, wanted, context);
}

void CodedGraph::compare(const Storage& storage, const Query& query, std::size_t wanted,
                         SearchContext& context) const {
    const std::vector<Slot>& found = context.todo;
    if (context.keys.size() < found.size()) context.keys.resize(found.size());
    storage.keys_of_few(query, found.data(), found.size(), context.read, context.keys.data());
    context.accepted.reset(wanted);
    for (std::size_t i = 0; i < found.size(); ++i) {
        context.accepted.insert(context.keys[i], found[i]);
    }
}

// Keeps of context.todo those that may be among the `wanted` nearest; context.keys has keys of
// theirs by four bits a dimension, to context.sq4.
void CodedGraph::drop_distant(std::size_t wanted, SearchContext& context) const {
    constexpr float kDeviations = 2.0f;  // that an estimate is trusted to be off by at most
    std::vector<Slot>& found = context.todo;
    const std::size_t count = found.size();
    context.errors.resize(2 * count);
    float* errors = context.errors.data();
    float* uppers = errors + count;
    refined_->deviations(context.sq4, found.data(), context.keys.data(), count, errors);
    for (std::size_t i = 0; i < count; ++i) uppers[i] = context.keys[i] + kDeviations * errors[i];
    std::nth_element(uppers, uppers + wanted - 1, uppers + count);
    const float bound = uppers[wanted - 1];
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (context.keys[i] - kDeviations * errors[i] <= bound) found[kept++] = found[i];
    }
    found.resize(kept);
}

}  // namespace llmspell::index
