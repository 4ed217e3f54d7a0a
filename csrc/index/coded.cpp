#include "index/coded.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/parallel.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kMaxStarts = 256;
// Four-bit rows are kept beside codes where stored rows are so many times as long: else a search
// takes no less by reading them first.
constexpr double kWorthRefining = 3.5;
constexpr std::size_t kSurveyed = 10, kFewest = kSurveyed + 2;  // nearest; vectors of a survey

}  // namespace

CodedGraph::CodedGraph(const Quantiser& quantiser, const Params& params)
    : rounded_(params.quantization == Quantization::sq4),
      codes_(quantiser.dim(), quantiser.metric(), params.max_neighbors),
      reach_(quantiser.metric()) {
    Sq4 refined(quantiser.dim(), quantiser.metric());
    const double shorter =
        static_cast<double>(quantiser.row_bytes()) / static_cast<double>(refined.row_bytes());
    if (rounded_ || shorter > kWorthRefining) refined_ = std::move(refined);
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
    encode(storage, slots, threads, false);
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

void CodedGraph::encode(const Storage& storage, std::span<const Slot> slots, unsigned threads,
                        bool round) {
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
            if (round && round_) refined_->set(slots[i], scratch.vector.data());
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

}  // namespace llmspell::index
