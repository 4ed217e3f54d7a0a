#include "index/coded.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/parallel.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kMaxStarts = 256;
constexpr std::size_t kSurveyed = 10, kFewest = kSurveyed + 2;  // nearest; vectors of a survey

// A walk that goes by distance takes at most so many times the steps it takes on average: hard
// queries gain little by more.
constexpr std::size_t kMostSteps = 2;

// Of a row that is fetched during the walk; the processor asks for the rest itself.
constexpr std::size_t kMostFetched = 2048;

}  // namespace

CodedGraph::CodedGraph(const Quantiser& quantiser, const Params& params)
    : rounded_(params.quantization == Quantization::sq4),
      codes_(quantiser.dim(), quantiser.metric(), params.max_neighbors),
      reach_(quantiser.metric()) {
    Sq4 refined(quantiser.dim(), quantiser.metric());
    if (rounded_ || 2 * refined.row_bytes() < quantiser.row_bytes()) refined_ = std::move(refined);
}

void CodedGraph::train(const Storage& storage, std::span<const Slot> slots, unsigned threads) {
    trained_for_ = slots.size();
    useful_ = true;
    if (rounded_) {
        useful_ = round_;
        return;
    }
    const std::size_t dim = storage.quantiser().dim();
    const std::size_t count = std::min(codes_.codebook().sample_size(), slots.size());
    std::vector<float> sample(count * dim);
    for (std::size_t i = 0; i < count; ++i) {
        storage.quantiser().decode(storage.row(slots[i * slots.size() / count]), &sample[i * dim]);
    }
    codes_.train(std::move(sample));
    reach_.clear();
    surveyed_for_ = 0;
    codes_.resize(storage.capacity());
    encode(storage, slots, threads);
    useful_ = tells_neighbours(storage, slots);
    if (!useful_) {
        codes_.clear();
        drop_rounded();
    }
}

bool CodedGraph::outgrown(const Storage& storage) const noexcept {
    constexpr std::size_t kGrowth = 4;
    return trained_for_ < codes_.codebook().sample_size() &&
           storage.live() >= kGrowth * trained_for_;
}

void CodedGraph::resize(std::size_t slots) {
    if (walks_rows()) codes_.resize(slots);
    if (round_) refined_->resize(slots);
}

void CodedGraph::encode(const Storage& storage, std::span<const Slot> slots, unsigned threads) {
    if (!useful_) return;
    struct Scratch {
        std::vector<float> vector;
        CodeScratch code;
    };
    parallel_for(
        slots.size(), slots.size() < 256 ? 1 : threads,
        [&] { return Scratch{std::vector<float>(storage.quantiser().dim()), {}}; },
        [&](std::size_t i, Scratch& scratch) {
            storage.quantiser().decode(storage.row(slots[i]), scratch.vector.data());
            if (!rounded_) codes_.set(slots[i], scratch.vector.data(), scratch.code);
            if (round_) refined_->set(slots[i], scratch.vector.data());
        });
}

void CodedGraph::wipe(Slot slot) noexcept {
    if (!useful_) return;
    if (!rounded_) codes_.wipe(slot);
    if (round_) refined_->wipe(slot);
}

CodedGraph::Arrays CodedGraph::renumbered(const std::vector<Slot>& moved, std::size_t live) const {
    Arrays fresh;
    if (round_) fresh.refined = refined_->renumbered(moved, live);
    if (!walks_rows()) return fresh;
    fresh.codes = codes_.renumbered(moved, live);
    fresh.root = moved[starts_.root];
    fresh.nodes = live;
    fresh.start_rows.resize(starts_.rows.size());
    std::memcpy(fresh.start_rows.data(), starts_.rows.data(), starts_.rows.size());
    const std::size_t row_bytes = codes_.layout().one_block().bytes();
    for (std::size_t row = 0; row < starts_.count; ++row) {
        auto* ids = reinterpret_cast<Slot*>(fresh.start_rows.data() + row * row_bytes);
        for (std::size_t i = 0; i < kBlock && ids[i] != kNoSlot; ++i) ids[i] = moved[ids[i]];
    }
    return fresh;
}

void CodedGraph::adopt(Arrays arrays) noexcept {
    if (round_) refined_->restore(std::move(arrays.refined));
    if (!walks_rows()) return;
    codes_.restore(std::move(arrays.codes));
    starts_.rows = std::move(arrays.start_rows);
    starts_.root = arrays.root;
    starts_.nodes = arrays.nodes;
}

void CodedGraph::clear() noexcept {
    codes_.clear();
    drop_rounded();
    starts_ = {};
    reach_.clear();
    trained_for_ = surveyed_for_ = 0;
    useful_ = false;
}

void CodedGraph::attach(Graph& graph, unsigned threads) {
    join(graph);
    if (!walks_rows()) return;
    constexpr std::size_t kAtOnce = 64;
    const std::size_t parts = (graph.slots() + kAtOnce - 1) / kAtOnce;
    parallel_for(
        parts, parts < 4 ? 1 : threads, [] { return 0; },
        [&](std::size_t part, int) {
            const std::size_t end = std::min((part + 1) * kAtOnce, graph.slots());
            for (auto slot = static_cast<Slot>(part * kAtOnce); slot < end; ++slot) {
                if (graph.contains(slot)) graph.pack_row(slot);
            }
        });
    starts_ = choose_starts(graph);
}

// Nodes of the upper layers are a sample of all; the table is short enough to look at as a whole.
CodedGraph::Starts CodedGraph::choose_starts(const Graph& graph) const {
    std::vector<Slot> upper;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        // Those without a parent are about to be linked, or to go.
        if (graph.level(slot) > 0 && graph.rooted(slot)) upper.push_back(slot);
    }
    std::vector<Slot> chosen;
    const std::size_t count = std::min(upper.size(), kMaxStarts);
    for (std::size_t i = 0; i < count; ++i) chosen.push_back(upper[i * upper.size() / count]);

    const RowLayout layout = codes_.layout().one_block();
    Starts starts;
    starts.root = graph.entry();
    starts.nodes = graph.slots();
    starts.count = (count + kBlock - 1) / kBlock + 1;
    starts.rows.resize(starts.count * layout.bytes());
    const auto pack_row = [&](std::size_t row, std::span<const Slot> slots) {
        codes_.pack(starts.rows.data() + row * layout.bytes(), layout, slots);
    };
    for (std::size_t first = 0; first < count; first += kBlock) {
        pack_row(first / kBlock, std::span(chosen).subspan(first, std::min(kBlock, count - first)));
    }
    pack_row(starts.count - 1, std::span(&starts.root, 1));
    return starts;
}

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
    WalkQuery walk_query = codes_.query(vector, context.code);
    // Twice, since the first choice is by tables so coarse that it may be a bad one.
    for (int pass = 0; pass < 2 && codes_.layout().has_bias; ++pass) {
        context.walk.reset(passed_by == kNoSlot ? 1 : 2, 0);
        if (passed_by != kNoSlot) pass_by(passed_by, walk_query, context.walk);
        codes_.kernels().walk(starts, starts_.count, rows, walk_query, context.walk);
        if (context.walk.size == 0) break;  // codes that no index makes
        const Slot* nearest = context.walk.slots();
        if (context.walk.size > 1 && *nearest == passed_by) ++nearest;
        float distance = 0.0f;
        storage.keys(query, nearest, 1, &distance);
        walk_query = codes_.narrowed(distance, context.code);
    }
    const auto walk = [&](std::size_t width, std::size_t most, const WalkReach& reach) {
        context.walk.reset(kept_of(most), most, reach);
        if (passed_by != kNoSlot) pass_by(passed_by, walk_query, context.walk);
        codes_.kernels().walk(starts, starts_.count, rows, walk_query, context.walk);
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

bool CodedGraph::is_survey_due(const Storage& storage) const noexcept {
    return walks_rows() && storage.live() >= kFewest && storage.live() >= 2 * surveyed_for_;
}

Reach CodedGraph::survey(const Storage& storage, const Graph& graph) const {
    constexpr std::size_t kQueries = 64;
    std::vector<Slot> live;
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (graph.contains(slot) && storage.is_live(slot)) live.push_back(slot);
    }
    const std::size_t queries = std::min(kQueries, live.size());
    Reach found(storage.quantiser().metric());
    found.start(codes_.codebook().nearest());
    SearchContext context;
    std::vector<float> vector(storage.quantiser().dim()), estimates, errors;
    for (std::size_t i = 0; i < queries; ++i) {
        const Slot slot = live[i * live.size() / queries];
        const Query query = storage.quantiser().query_of_row(storage.row(slot), context.row_query);
        storage.quantiser().decode(storage.row(slot), vector.data());
        search(storage, graph, vector.data(), query, Reach::kRanks, kSurveyed, context, slot,
               false);  // walks of a fixed width tell
        const WalkPool& pool = context.walk;
        estimates.clear();
        errors.clear();
        for (std::size_t n = 0; n < pool.size; ++n) {
            if (pool.slots()[n] == slot) continue;
            estimates.push_back(WalkPool::value_of(pool.keys()[n]));
            for (std::size_t at = 0; at < context.accepted.size(); ++at) {
                const Candidate& near = context.accepted[at];
                if (near.slot == pool.slots()[n]) errors.push_back(estimates.back() - near.key);
            }
        }
        if (!estimates.empty()) found.add_walk(estimates, errors);
    }
    found.finish();
    return found;
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
    storage.keys(query, found.data(), found.size(), context.keys.data());
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
