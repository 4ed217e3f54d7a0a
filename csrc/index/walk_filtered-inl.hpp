// The walk under a filter; included by walk-inl.hpp, behind the walk.

// To the pool of those that the filter lets through, or to that of the others.
struct IntoPools {
    const FilteredWalk& walk;

    std::int32_t bound() const { return std::max(walk.others.bound, walk.found.bound); }
    void operator()(std::int32_t key, Slot slot) const {
        WalkPool& pool = walk.allows(slot) ? walk.found : walk.others;
        if (key < pool.bound) insert(pool, key, slot);
    }
};

inline std::size_t unexpanded_from(WalkPool& pool, std::size_t at) {
    const std::int32_t* keys = pool.keys();
    while (at < pool.size && (keys[at] & WalkPool::kExpanded) != 0) ++at;
    return at;
}

// As fetch_ahead, of both pools. Behind the last key of a pool is kNone.
inline void fetch_ahead(const WalkRows& graph, const FilteredWalk& walk) {
    constexpr int kAhead = 2;
    std::size_t own = walk.found.next, other = walk.others.next;
    for (int seen = 0; seen < kAhead; ++seen) {
        own = unexpanded_from(walk.found, own);
        other = unexpanded_from(walk.others, other);
        const bool through = walk.others.keys()[other] < walk.found.keys()[own];
        WalkPool& pool = through ? walk.others : walk.found;
        std::size_t& at = through ? other : own;
        if (at >= pool.size) return;
        if ((pool.keys()[at] & WalkPool::kFetched) == 0) {
            pool.keys()[at] |= WalkPool::kFetched;
            fetch(graph.rows + pool.slots()[at] * graph.stride, graph.stride);
        }
        ++at;
    }
}

template <bool kBias>
void walk_filtered_rows(const WalkRows& starts, std::size_t start_rows, const WalkRows& graph,
                        const WalkQuery& query, FilteredWalk& walk) {
    constexpr std::size_t kStarts = 3;
    WalkPool& found = walk.found;
    WalkPool& others = walk.others;
    const std::size_t limit = others.limit;
    others.limit = limit < kStarts ? limit : kStarts;
    for (std::size_t i = 0; i + 1 < start_rows; ++i) {
        scan<kBias>(starts.layout, starts.rows + i * starts.stride, query, IntoPool{others});
    }
    const std::size_t chosen = others.size;
    others.size = 0;
    others.limit = limit;
    others.bound = WalkPool::kNone;
    for (std::size_t i = 0; i < chosen; ++i) {  // in order, so none is written over before its turn
        const Slot slot = others.slots()[i];
        const std::int32_t key = std::exchange(others.keys()[i], WalkPool::kNone);
        insert(walk.allows(slot) ? found : others, key, slot);
    }
    scan<kBias>(starts.layout, starts.rows + (start_rows - 1) * starts.stride, query,
                IntoPools{walk});
    for (;;) {
        fetch_ahead(graph, walk);
        found.next = unexpanded_from(found, found.next);
        others.next = unexpanded_from(others, others.next);
        if (walk.settles() || walk.gives_up()) break;
        const bool own = found.next < found.size;
        const bool through = others.next < others.size &&
                             (!own || others.keys()[others.next] < found.keys()[found.next]);
        if (!own && !through) break;
        WalkPool& pool = through ? others : found;
        ++walk.steps;
        pool.keys()[pool.next] |= WalkPool::kExpanded;
        const Slot slot = pool.slots()[pool.next++];
        if (!through && graph.later != nullptr) {
            const std::byte* later = graph.later + slot * graph.later_stride;
            fetch(later, graph.later_bytes);
            __builtin_prefetch(later + graph.later_bytes - 1);
        }
        if (graph.guard != nullptr) graph.guard->check(slot);
        scan_node<kBias>(graph, slot, query, IntoPools{walk});
    }
    while (found.size > walk.wanted &&
           (found.keys()[found.size - 1] & ~WalkPool::kFlags) > found.bound) {
        --found.size;
    }
}

void walk_filtered(const WalkRows& starts, std::size_t start_rows, const WalkRows& graph,
                   const WalkQuery& query, FilteredWalk& walk) {
    if (graph.layout.has_bias) {
        walk_filtered_rows<true>(starts, start_rows, graph, query, walk);
    } else {
        walk_filtered_rows<false>(starts, start_rows, graph, query, walk);
    }
}
