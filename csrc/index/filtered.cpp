// Search by codes among what a filter lets through: a sweep over codes of two kinds or a walk,
// whichever promises to be the quickest.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "index/coded.hpp"

namespace llmspell::index {
namespace {

// In ns, on an AMD Zen 3 at 384 dimensions and 116,659 vectors, where little of an index is cached.
constexpr double kStepCost = 700;     // of a walk: a row of 1.8 KB at random, and its 32 estimates
constexpr double kTableCost = 7000;   // what a query needs for short codes
constexpr double kBlockCost = 100;    // 1.5 KB in order, and 32 estimates
constexpr double kRefinedCost = 95;   // a row of four bits a dimension, 204 bytes at random
constexpr double kCopyCost = 25;      // the same in order
constexpr double kByteCost = 0.14;    // of stored rows at random
constexpr double kPackCost = 60;      // to put one code into a block
constexpr double kCopyingCost = 110;  // a four-bit row

// A walk keeps at most so many allowed nodes, and first has room for so many of the others.
std::size_t most_kept(std::size_t ef) { return kept_of(2 * ef); }
std::size_t most_others(std::size_t ef) { return 6 * ef; }

// How many steps it takes to find those wanted where one in `depth` is allowed.
double steps_through(std::size_t ef, std::size_t wanted, double depth) {
    return static_cast<double>(wanted) * depth + static_cast<double>(margin_at(depth, ef - wanted));
}

}  // namespace

CodedGraph::Costs CodedGraph::costs(const Storage& storage, std::size_t ef, std::size_t wanted,
                                    std::size_t allowed) const noexcept {
    const double count = static_cast<double>(allowed);
    const double depth = static_cast<double>(storage.live()) / count;
    const double row =
        round_ ? kRefinedCost : kByteCost * static_cast<double>(storage.quantiser().row_bytes());
    const double walk = rounded_ ? row * static_cast<double>(kDistancesPerStep * ef) * depth
                                 : kStepCost * steps_through(ef, wanted, depth);
    const double kept = std::min(count, static_cast<double>(most_kept(ef)));
    const double blocks =
        kTableCost + kBlockCost * count / static_cast<double>(kBlock) + row * kept;
    const double copies = round_ ? kCopyCost * count : std::numeric_limits<double>::infinity();
    return {walk, row * count, blocks, copies, kPackCost * count, kCopyingCost * count};
}

std::size_t CodedGraph::block_bytes(std::size_t allowed) const noexcept {
    return (allowed + kBlock - 1) / kBlock * codes_.layout().one_block().bytes();
}

std::size_t CodedGraph::copy_bytes(std::size_t allowed) const noexcept {
    return allowed * refined_row_bytes();
}

CodeBlocks CodedGraph::blocks_of(const Allowed& allowed, bool copies) const {
    const RowLayout layout = codes_.layout().one_block();
    CodeBlocks blocks;
    blocks.rows.resize(block_bytes(allowed.count));
    if (copies) blocks.copies.resize(copy_bytes(allowed.count));
    std::uint8_t* copied = blocks.copies.data();
    allowed.for_each([&](const Slot* slots, std::size_t count) {
        if (copied != nullptr) {
            refined_->copy({slots, count}, copied);
            copied += count * refined_->row_bytes();
        }
        codes_.check({slots, count});
        for (std::size_t at = 0; at < count; at += kBlock) {
            codes_.pack(blocks.rows.data() + blocks.count++ * layout.bytes(), layout,
                        {slots + at, std::min(kBlock, count - at)});
        }
    });
    return blocks;
}

// Keeps those that may be among the nearest by four bits a dimension, of `copies` where these are
// not nullptr, and compares these by the stored rows. An estimate is trusted to be off by at most
// five of its standard deviations, which one in millions is: for all that can be seen the answer is
// the exact one.
template <class Probe>
void CodedGraph::sweep_refined(const Storage& storage, const float* vector, const Query& query,
                               std::size_t wanted, const Allowed& allowed,
                               const std::uint8_t* copies, SearchContext& context,
                               Probe& probe) const {
    constexpr float kDeviations = 5.0f;
    std::vector<Candidate>& near = context.candidates;
    CandidatePool& uppers = context.accepted;
    near.clear();
    uppers.reset(wanted);
    refined_->query(codes_.kernels(), vector, context.sq4);
    context.keys.resize(std::max(context.keys.size(), Allowed::kAtOnce));
    context.errors.resize(std::max(context.errors.size(), Allowed::kAtOnce));
    float* keys = context.keys.data();
    float* errors = context.errors.data();
    Slot of_chunk[Allowed::kAtOnce];
    std::iota(of_chunk, of_chunk + Allowed::kAtOnce, Slot{0});
    allowed.for_each([&](const Slot* slots, std::size_t count) {
        if (copies != nullptr) {
            refined_->keys_at(copies, codes_.kernels(), context.sq4, of_chunk, count,
                              context.products, keys);
            refined_->deviations_at(copies, context.sq4, of_chunk, keys, count, errors);
            copies += count * refined_->row_bytes();
        } else {
            refined_->keys(codes_.kernels(), context.sq4, slots, count, context.products, keys);
            refined_->deviations(context.sq4, slots, keys, count, errors);
        }
        probe.estimated(count);
        probe.poll();
        for (std::size_t i = 0; i < count; ++i) {
            const float off = kDeviations * errors[i];
            if (keys[i] - off > uppers.bound()) continue;
            near.push_back({keys[i] - off, slots[i]});
            uppers.insert(keys[i] + off, slots[i]);
        }
    });
    const float bound = uppers.bound();
    context.todo.clear();
    for (const Candidate& candidate : near) {
        if (candidate.key <= bound) context.todo.push_back(candidate.slot);
    }
    compare(storage, query, wanted, context);
}

template <class Probe>
void CodedGraph::sweep_blocks(const Storage& storage, const float* vector, const Query& query,
                              std::size_t ef, std::size_t wanted, const Allowed& allowed,
                              SearchContext& context, Probe& probe) const {
    constexpr std::size_t kAtOnce = 64;
    const RowLayout layout = codes_.layout().one_block();
    WalkPool& pool = context.walk;
    const WalkQuery walk_query = codes_.query(vector, context.code);
    pool.reset(most_kept(ef), 0);
    for (std::size_t first = 0; first < allowed.blocks->count; first += kAtOnce) {
        const std::size_t now = std::min(kAtOnce, allowed.blocks->count - first);
        probe.estimated(now * kBlock);
        codes_.kernels().scan(
            {allowed.blocks->rows.data() + first * layout.bytes(), layout.bytes(), layout, nullptr},
            now, walk_query, pool);
        probe.poll();
    }
    order(storage, pool, vector, query, wanted, round_, context);
}

// Walks until it is settled which are nearest, with room for more and more of the others, or until
// more steps would cost as much as a sweep. Leaves what it found in context.found; false where that
// isn't to be trusted.
bool CodedGraph::walk_allowed(const Storage& storage, const Graph& graph, const WalkQuery& query,
                              std::size_t ef, std::size_t wanted, double depth,
                              const Allowed& allowed, double sweep, SearchContext& context) const {
    const RowLayout layout = codes_.layout().one_block();
    const WalkRows starts{starts_.rows.data(), layout.bytes(), layout};
    const WalkRows rows = rows_of(graph, storage, round_);
    const auto affordable = static_cast<std::size_t>(sweep / kStepCost);
    // Where the allowed lie evenly among the others, there are so many of these.
    const double evenly = steps_through(ef, wanted, depth) * (1.0 - 1.0 / depth);
    for (std::size_t room = std::max(most_others(ef), static_cast<std::size_t>(2.0 * evenly));;
         room *= 4) {
        FilteredWalk walk{
            allowed.bits.data(), wanted,        ef - wanted,  depth,
            affordable,          context.found, context.walk, reach_.known() ? &reach_ : nullptr};
        walk.others.reset(room, 0);
        walk.found.reset(most_kept(ef), 0);
        codes_.kernels().walk_filtered(starts, starts_.count, rows, query, walk);
        count_walk(walk.steps, context);
        if (walk.knows() && walk.steps < affordable) return true;
        if (room >= affordable) return false;
    }
}

template <class Probe>
Strategy CodedGraph::search_allowed(const Storage& storage, const Graph& graph, const float* vector,
                                    const Query& query, std::size_t ef, std::size_t wanted,
                                    const Allowed& allowed, SearchContext& context,
                                    Probe& probe) const {
    const Costs costs = this->costs(storage, ef, wanted, allowed.count);
    constexpr double kNever = std::numeric_limits<double>::infinity();
    const bool has_copies = allowed.blocks != nullptr && allowed.blocks->copies.size() > 0;
    const double blocks = allowed.blocks != nullptr ? costs.blocks : kNever;
    const double copies = has_copies ? costs.copies : kNever;
    const double sweep = std::min({costs.rows, blocks, copies});
    if (rounded_ && costs.walk < sweep) {
        const std::size_t most = std::max(ef, allowed.count / kDistancesPerStep);
        if (walk_rounded(storage, graph, vector, query, ef, wanted, allowed, most, context,
                         probe)) {
            return Strategy::filtered_quantized;
        }
    } else if (costs.walk < sweep) {
        const WalkQuery walk_query = codes_.query(vector, context.code);
        const double depth =
            static_cast<double>(storage.live()) / static_cast<double>(allowed.count);
        if (walk_allowed(storage, graph, walk_query, ef, wanted, depth, allowed, sweep, context)) {
            order(storage, context.found, vector, query, wanted, round_, context);
            return Strategy::filtered_quantized;
        }
    }
    if (blocks == sweep) {
        sweep_blocks(storage, vector, query, ef, wanted, allowed, context, probe);
        return Strategy::swept_codes;
    }
    if (!round_) return Strategy::none;
    sweep_refined(storage, vector, query, wanted, allowed,
                  copies == sweep ? allowed.blocks->copies.data() : nullptr, context, probe);
    return Strategy::swept_codes;
}

#define LLMSPELL_SEARCH_ALLOWED(Probe)                                                       \
    template Strategy CodedGraph::search_allowed(const Storage&, const Graph&, const float*, \
                                                 const Query&, std::size_t, std::size_t,     \
                                                 const Allowed&, SearchContext&, Probe&) const;
LLMSPELL_SEARCH_ALLOWED(Unwatched)
LLMSPELL_SEARCH_ALLOWED(Watched)
#undef LLMSPELL_SEARCH_ALLOWED

}  // namespace llmspell::index
