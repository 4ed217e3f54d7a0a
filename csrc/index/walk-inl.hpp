// The one body of the walk. Each level's file defines, in an anonymous namespace of its own,
//   sums(codes, tables, groups, out)   32 sums of table entries, as uint16
//   keys_of<bias>(query, sums, layout, block, out)  their keys
//   below(keys, ids, bound)            bit i: keys[i] < bound, and ids[i] is a node
//   count_below(keys, n, key)          how many of n are; up to 16 beyond n may be read
//   add_up(projected, points, axes, out)  a group's 16 entries, and their range
//   nibble_product(query, codes, chunks)  the sum of 128 products a chunk
//   largest(vector, dim), round_all(vector, dim, inverse, offset, out)  as `round` wants them
//   sum_axes(...)  as the kernel
//   to_table(entries, low, scale, out) 16 entries, less the lowest, in steps, as bytes
// and then includes this file there.

inline void insert(WalkPool& pool, std::int32_t key, Slot slot) {
    std::int32_t* keys = pool.keys();
    Slot* slots = pool.slots();
    constexpr std::size_t kWindow = 256;
    std::size_t at = 0, left = pool.size;
    while (left > kWindow) {
        const std::size_t half = left / 2;
        at += keys[at + half - 1] < key ? half : 0;
        left -= half;
    }
    at += count_below(keys + at, left, key);
    for (std::size_t i = at; (keys[i] & ~WalkPool::kFlags) == key && i < pool.size; ++i) {
        if (slots[i] == slot) return;
    }
    const bool full = pool.size == pool.limit;
    make_room(keys, slots, at, full ? pool.size - 1 : pool.size);
    keys[at] = key;
    slots[at] = slot;
    if (!full) ++pool.size;
    if (pool.size == pool.limit) {
        pool.bound = std::min(pool.bound, keys[pool.size - 1] & ~WalkPool::kFlags);
    }
    if (at < pool.next) pool.next = at;
}

// Where the nodes of a row go: those with a key below bound() are given to it.
struct IntoPool {
    WalkPool& pool;

    std::int32_t bound() const { return pool.bound; }
    void operator()(std::int32_t key, Slot slot) const {
        if (key < pool.bound) insert(pool, key, slot);
    }
};

// The version of a node's row that is read; without versions nobody changes it.
struct RowVersion {
    const Versions* versions = nullptr;
    Slot slot = 0;
    std::uint32_t number = 0;

    bool holds() const { return versions == nullptr || versions->holds(slot, number); }
};

// Gives the near ones of a row's nodes to `into`; false where the row was being changed, then none
// of a block that was.
template <bool kBias, class Into>
inline bool scan(const RowLayout& layout, const std::byte* row, const WalkQuery& query,
                 const Into& into, RowVersion version = {}) {
    const auto* ids = reinterpret_cast<const Slot*>(row);
    const std::byte* block = row + layout.ids_bytes();
    for (std::size_t b = 0; b < layout.blocks; ++b, ids += kBlock, block += layout.block_bytes()) {
        alignas(64) std::uint16_t totals[kBlock];
        alignas(64) std::int32_t keys[kBlock];
        Slot slots[kBlock];
        sums(reinterpret_cast<const std::uint8_t*>(block + layout.codes_at()), query.tables,
             layout.groups, totals);
        keys_of<kBias>(query, totals, layout, block, keys);
        std::memcpy(slots, ids, sizeof(slots));
        if (!version.holds()) return false;
        for (std::uint32_t near = below(keys, slots, into.bound()); near != 0; near &= near - 1) {
            const int i = __builtin_ctz(near);
            into(keys[i], slots[i]);
        }
    }
    return true;
}

// A node's row, as it is at some moment. What a row that was changed meanwhile had offered before
// is found again by its estimate.
template <bool kBias, class Into>
inline void scan_node(const WalkRows& graph, Slot slot, const WalkQuery& query, const Into& into) {
    const std::byte* row = graph.rows + slot * graph.stride;
    if (graph.versions == nullptr) {
        scan<kBias>(graph.layout, row, query, into);
        return;
    }
    for (;;) {
        const std::uint32_t number = graph.versions->begin_read(slot);
#ifdef LLMSPELL_TSAN
        thread_local AlignedArray<std::byte> copy;
        if (copy.size() < graph.layout.bytes()) copy.resize(graph.layout.bytes());
        racing_read(copy.data(), row, graph.layout.bytes());
        const std::byte* from = copy.data();
#else
        const std::byte* from = row;
#endif
        if (scan<kBias>(graph.layout, from, query, into, {graph.versions, slot, number})) return;
    }
}

inline void fetch(const std::byte* row, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
}

// Asks for the rows that will be read next, as things stand.
inline void fetch_ahead(const WalkRows& graph, WalkPool& pool) {
    constexpr int kAhead = 2;
    std::int32_t* keys = pool.keys();
    int seen = 0;
    for (std::size_t i = pool.next; i < pool.size && seen < kAhead; ++i) {
        if ((keys[i] & WalkPool::kExpanded) != 0) continue;
        ++seen;
        if ((keys[i] & WalkPool::kFetched) != 0) continue;
        keys[i] |= WalkPool::kFetched;
        fetch(graph.rows + pool.slots()[i] * graph.stride, graph.stride);
    }
}

// Narrows the pool to its reach, and tells whether the node that comes next is within it.
inline bool reaches(WalkPool& pool) {
    const WalkReach& reach = pool.reach;
    if (pool.size <= reach.rank) return true;
    const std::int32_t* keys = pool.keys();
    const float key = WalkPool::value_of(keys[reach.rank]);
    pool.bound = std::min(pool.bound, WalkPool::key_of(reach.beyond(key, reach.kept)));
    return WalkPool::value_of(keys[pool.next]) <= reach.beyond(key, reach.expanded);
}

template <bool kBias>
void walk_rows(const WalkRows& starts, std::size_t start_rows, const WalkRows& graph,
               const WalkQuery& query, WalkPool& pool) {
    constexpr std::size_t kStarts = 3;
    const std::size_t limit = pool.limit;
    pool.limit = limit < kStarts ? limit : kStarts;
    for (std::size_t i = 0; i + 1 < start_rows; ++i) {
        scan<kBias>(starts.layout, starts.rows + i * starts.stride, query, IntoPool{pool});
    }
    pool.limit = limit;
    if (pool.size < limit) pool.bound = WalkPool::kNone;
    scan<kBias>(starts.layout, starts.rows + (start_rows - 1) * starts.stride, query,
                IntoPool{pool});
    std::int32_t* keys = pool.keys();
    for (;;) {
        fetch_ahead(graph, pool);
        while (pool.next < pool.size && (keys[pool.next] & WalkPool::kExpanded) != 0) {
            ++pool.next;
        }
        if (pool.next >= std::min(pool.size, pool.expansions) || !reaches(pool)) break;
        keys[pool.next] |= WalkPool::kExpanded;
        ++pool.steps;
        const Slot slot = pool.slots()[pool.next++];
        if (graph.later != nullptr) {
            const std::byte* later = graph.later + slot * graph.later_stride;
            fetch(later, graph.later_bytes);
            __builtin_prefetch(later + graph.later_bytes - 1);
        }
        if (graph.guard != nullptr) graph.guard->check(slot);
        scan_node<kBias>(graph, slot, query, IntoPool{pool});
    }
    while (pool.size > 0 && (keys[pool.size - 1] & ~WalkPool::kFlags) > pool.bound) --pool.size;
}

void walk(const WalkRows& starts, std::size_t start_rows, const WalkRows& graph,
          const WalkQuery& query, WalkPool& pool) {
    if (graph.layout.has_bias) {
        walk_rows<true>(starts, start_rows, graph, query, pool);
    } else {
        walk_rows<false>(starts, start_rows, graph, query, pool);
    }
}

WalkQuery tabulate(const float* projected, const float* points, const std::uint32_t* ends,
                   std::size_t groups, std::uint8_t* tables) {
    alignas(64) float entries[kMaxGroups * kGroupPoints];
    float lows[kMaxGroups];
    float widest = 0.0f, offset = 0.0f;
    std::uint32_t axis = 0;
    for (std::size_t g = 0; g < groups; ++g) {
        const std::uint32_t end = ends[g];
        const Range range = add_up(projected + axis, points + axis * kGroupPoints, end - axis,
                                   entries + g * kGroupPoints);
        axis = end;
        lows[g] = range.low;
        widest = std::max(widest, range.high - range.low);
        offset += range.low;
    }
    const float scale = widest > 0.0f ? 255.0f / widest : 0.0f;
    for (std::size_t g = 0; g < groups; ++g) {
        to_table(entries + g * kGroupPoints, lows[g], scale, tables + g * kGroupBytes);
    }
    return {tables, scale > 0.0f ? 1.0f / scale : 0.0f, offset};
}

void scan_all(const WalkRows& rows, std::size_t count, const WalkQuery& query, WalkPool& pool) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::byte* row = rows.rows + i * rows.stride;
        if (rows.layout.has_bias) {
            scan<true>(rows.layout, row, query, IntoPool{pool});
        } else {
            scan<false>(rows.layout, row, query, IntoPool{pool});
        }
    }
}

void products(const std::int8_t* query, const std::uint8_t* base, std::size_t stride,
              const Slot* slots, std::size_t count, std::size_t chunks, std::int32_t* out) {
    constexpr std::size_t kAhead = 8;
    const auto ask_for = [&](std::size_t i) {
        const std::uint8_t* row = base + slots[i] * stride;
        for (std::size_t at = 0; at < stride; at += 64) __builtin_prefetch(row + at);
        __builtin_prefetch(row + stride - 1);
    };
    for (std::size_t i = 0; i < std::min(count, kAhead); ++i) ask_for(i);
    for (std::size_t i = 0; i < count; ++i) {
        if (i + kAhead < count) ask_for(i + kAhead);
        out[i] = nibble_product(query, base + slots[i] * stride, chunks);
    }
}

#include "index/walk_filtered-inl.hpp"

float round(const float* vector, std::size_t dim, int most, int offset, std::int8_t* out) {
    const float unit = std::max(largest(vector, dim) / static_cast<float>(most),
                                std::numeric_limits<float>::min());
    round_all(vector, dim, 1.0f / unit, offset, out);
    return unit;
}

constexpr WalkKernels kWalkKernels = {tabulate, round,    sum_axes,     walk,
                                      scan_all, products, walk_filtered};
