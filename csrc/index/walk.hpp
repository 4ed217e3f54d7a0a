// A best-first walk over rows that hold a node's links and, beside them, short codes of the nodes
// they lead to (SymphonyQG: Gou, Gao, Xu and Long 2025, arXiv:2411.12229): one hop reads one row
// and estimates all its neighbours at once.
//
// A code has four bits for each of its groups, and for each group the query has a table of 16
// one-byte entries, what each of the 16 points of the group adds to the inner product; a byte
// shuffle looks 16 of them up (André, Kermarrec and Le Scouarnec 2015, "Cache locality is not
// enough").
//
// All is one table of functions per instruction-set level, as in simd/kernels.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/aligned.hpp"
#include "base/racing.hpp"
#include "index/block_guard.hpp"
#include "index/params.hpp"
#include "simd/kernels.hpp"

namespace llmspell::index {

class Reach;

inline constexpr std::size_t kBlock = 32;        // neighbours whose codes are looked up together
inline constexpr std::size_t kGroupPoints = 16;  // that a group's four bits tell apart
inline constexpr std::size_t kGroupBytes = 16;   // of a block's codes, and of a query's table
inline constexpr std::size_t kGroupsStep = 4;    // a code's groups are a multiple of this
inline constexpr std::size_t kMaxGroups = 128;
inline constexpr std::size_t kMaxLeading = 8;  // axes whose coordinates stand beside a code
inline constexpr int kMostWeight = 8191;       // as many products with int16 fit 32 bits

inline constexpr std::size_t kAxisBlock = 16;  // axes that a query is multiplied with together
inline constexpr int kByteOffset = 128;        // of a query's whole numbers, as unsigned bytes

inline constexpr std::size_t kChunkDims = 128;  // of a four-bit row: low halves of its bytes are
inline constexpr std::size_t kChunkBytes = 64;  // the first 64 dimensions, high ones the others

// Where things lie in a row: the ids of all blocks, kNoSlot where there is none, then block by
// block for each neighbour a factor (float16) and, under l2, a bias (float32); its coordinates
// along the leading axes, two axes at a time (2 * int16 for each neighbour); and groups * 16 bytes
// of codes. In a group's 16 bytes neighbour i has the low half of byte 2 * (i % 8) + i / 8 % 2, or,
// from 16 on, the high half.
struct RowLayout {
    std::size_t blocks = 0;
    std::size_t groups = 0;
    bool has_bias = false;
    std::size_t leading = 0;  // axes, an even number; with a bias only

    std::size_t ids_bytes() const noexcept { return blocks * kBlock * sizeof(Slot); }
    std::size_t factors_bytes() const noexcept { return kBlock * sizeof(std::uint16_t); }
    std::size_t biases_bytes() const noexcept { return has_bias ? kBlock * sizeof(float) : 0; }
    std::size_t leading_bytes() const noexcept { return leading * kBlock * sizeof(std::int16_t); }
    // In a block; the factors are its first.
    std::size_t biases_at() const noexcept { return factors_bytes(); }
    std::size_t leading_at() const noexcept { return biases_at() + biases_bytes(); }
    std::size_t codes_at() const noexcept { return leading_at() + leading_bytes(); }
    std::size_t block_bytes() const noexcept { return codes_at() + groups * kGroupBytes; }
    std::size_t bytes() const noexcept { return ids_bytes() + blocks * block_bytes(); }
    // How many times four bits a code has, those of its coordinates included.
    std::size_t four_bits() const noexcept { return groups + 4 * leading; }
    RowLayout one_block() const noexcept { return {1, groups, has_bias, leading}; }
};

struct WalkQuery {
    const std::uint8_t* tables;
    float step;    // of a table's entries
    float offset;  // key = bias - factor * (step * sum of entries + offset)
    // Under l2 there are besides unit * <weights, coordinates> + shift.
    std::int16_t weights[kMaxLeading] = {};  // at most kMostWeight
    float unit = 0.0f;
    float shift = 0.0f;
};

// How far a walk goes, in estimated keys: nodes further beyond the one at `rank` than `expanded`
// are not expanded, and those further than `kept` are not kept. Both are in units.
struct WalkReach {
    std::size_t rank = ~std::size_t{0};
    float expanded = 0.0f;
    float kept = 0.0f;
    float slope = 0.0f;  // a unit is slope * key, and at least `least`
    float least = 1.0f;
    // No key is really lower, however low an estimate is: a vector equal to the query is kept.
    float lowest = -std::numeric_limits<float>::infinity();

    // What lies so many units beyond the node with a key.
    float beyond(float key, float units) const noexcept {
        key = std::max(key, lowest);
        return key + units * std::max(slope * key, least);
    }
};

// The nearest candidates in order. A key is a float as an integer of the same order, its last two
// bits given to flags. A node's estimate is the same from whichever row it comes, so one that is
// here already is found by its key, and no set of visited nodes is needed.
struct WalkPool {
    static constexpr std::int32_t kNone = INT32_MAX;
    static constexpr std::int32_t kExpanded = 1, kFetched = 2, kFlags = 3;
    static constexpr std::size_t kPad = 16;  // a vector may reach so far beyond either end

    // Keeps `most` nodes; the first `expanded` of them are expanded, as far as they are in reach.
    void reset(std::size_t most, std::size_t expanded, const WalkReach& how_far = {});

    static float value_of(std::int32_t key) noexcept {
        key &= ~kFlags;
        return std::bit_cast<float>(key ^ ((key >> 31) & INT32_MAX));
    }
    static std::int32_t key_of(float value) noexcept {
        const auto key = std::bit_cast<std::int32_t>(value);
        return (key ^ ((key >> 31) & INT32_MAX)) & ~kFlags;
    }

    std::int32_t* keys() noexcept { return key_memory.data() + kPad; }
    const std::int32_t* keys() const noexcept { return key_memory.data() + kPad; }
    Slot* slots() noexcept { return slot_memory.data() + kPad; }
    const Slot* slots() const noexcept { return slot_memory.data() + kPad; }

    std::size_t bytes() const noexcept { return key_memory.bytes() + slot_memory.bytes(); }

    std::size_t size = 0;
    std::size_t limit = 0;
    std::size_t expansions = 0;  // of the nearest only
    std::size_t next = 0;        // none before it is left to expand
    std::size_t steps = 0;       // that the walk took
    WalkReach reach;
    std::int32_t bound = kNone;  // what a newcomer must be below
    AlignedArray<std::int32_t> key_memory;
    AlignedArray<Slot> slot_memory;
};

struct WalkRows {
    const std::byte* rows;
    std::size_t stride;
    RowLayout layout;
    const BlockGuard* guard = nullptr;   // of rows that were mapped
    const Versions* versions = nullptr;  // where rows may change meanwhile
    // What will be read next of a node that was expanded: its row of these, if there are any.
    const std::byte* later = nullptr;
    std::size_t later_stride = 0;
    std::size_t later_bytes = 0;  // of each row
};

// A walk under a filter. It expands the nearest node, whether it may be returned or not, until it
// is settled: until it has gone as far beyond the last one wanted as a walk without a filter that
// looks for as many as lie nearer than that. It gives up where that would take more steps than it
// may, or there are more of the others than there is room for.
struct FilteredWalk {
    const std::uint64_t* allowed;  // a bit for each slot
    std::size_t wanted;
    std::size_t margin;  // to expand beyond those wanted where there are no others
    double depth;        // of the wanted ones among all, if the allowed lie evenly
    std::size_t most_steps;
    WalkPool& found;  // what may be returned
    WalkPool& others;
    const Reach* reach = nullptr;  // without, nodes are counted
    std::size_t steps = 0;
    std::size_t rank = 0;   // of the last one wanted, among all
    std::size_t usual = 0;  // to expand for one of that rank
    WalkReach how_far = {};

    bool allows(Slot slot) const noexcept { return ((allowed[slot / 64] >> (slot % 64)) & 1) != 0; }
    std::int32_t last_wanted() const noexcept {
        return found.keys()[wanted - 1] & ~WalkPool::kFlags;
    }
    // Whether it is known which are the nearest: not where others had to be left out.
    bool knows() const noexcept {
        return found.size >= wanted &&
               (others.size < others.limit || others.keys()[others.size - 1] >= last_wanted());
    }
    bool gives_up() const noexcept;
    // Narrows the pools to what is within reach; whether nothing there is left to expand.
    bool settles();
};

// How many nodes a walk expands beyond the one at depth * k where it expands `margin` beyond the
// k-th: the deeper, the more there are to miss one by. So many lead to the same recall@10, @20 and
// @100 where one vector is like another (measured; see docs/explanation/index.md).
std::size_t margin_at(double depth, std::size_t margin) noexcept;

struct WalkKernels {
    // The tables of a query, of products with a group's points. `projected` has a coordinate for
    // each axis, `points` for each axis those of its group's points; a group's axes are those
    // before ends[group], behind those of the group before it.
    WalkQuery (*tabulate)(const float* projected, const float* points, const std::uint32_t* ends,
                          std::size_t groups, std::uint8_t* tables);
    // Rounds a vector to whole numbers from -most to most of a unit, which it returns, and adds
    // `offset` to each; they fit eight bits, with a sign or without.
    float (*round)(const float* vector, std::size_t dim, int most, int offset, std::int8_t* out);
    // The products of a query, whose numbers have kByteOffset added, with the axes of `blocks`
    // blocks. `shifts` are what takes the offset off again, as multiples of an axis's sum; a level
    // that multiplies bytes with a sign does without. See byte_axes.hpp.
    void (*sum_axes)(const std::int8_t* query, const std::int8_t* rows, std::size_t quads,
                     const std::int32_t* shifts, std::size_t blocks, std::int32_t* out);
    // Leaves in `pool`, which was reset, the nearest nodes by estimate that a walk comes to. It
    // starts from the nearest of those in the rows of `starts`, of one block each, and from all of
    // the last row.
    void (*walk)(const WalkRows& starts, std::size_t start_rows, const WalkRows& graph,
                 const WalkQuery& query, WalkPool& pool);
    // Offers `pool` all nodes of `count` rows of one block each.
    void (*scan)(const WalkRows& rows, std::size_t count, const WalkQuery& query, WalkPool& pool);
    // Products of a query with four-bit rows of `chunks` chunks, at base + slots[i] * stride; see
    // sq4.hpp.
    void (*products)(const std::int8_t* query, const std::uint8_t* base, std::size_t stride,
                     const Slot* slots, std::size_t count, std::size_t chunks, std::int32_t* out);
    // A walk under a filter, whose pools were reset, from all nodes of `starts`.
    void (*walk_filtered)(const WalkRows& starts, std::size_t start_rows, const WalkRows& graph,
                          const WalkQuery& query, FilteredWalk& walk);
};

const WalkKernels& walk_kernels(simd::Level level) noexcept;

}  // namespace llmspell::index
