#include "index/flat.hpp"

#include <algorithm>

namespace llmspell::index {
namespace {

constexpr std::size_t kRowsAtOnce = 256;

// Calls each(key, slot) for every row, live or not.
template <class Probe, class Each>
void for_each_row(const Storage& storage, const Query& query, Probe& probe, const Each& each) {
    float keys[kRowsAtOnce];
    for (std::size_t first = 0; first < storage.slots(); first += kRowsAtOnce) {
        const std::size_t count = std::min(kRowsAtOnce, storage.slots() - first);
        storage.keys_from(query, static_cast<Slot>(first), count, keys);
        probe.computed(count);
        probe.poll();
        for (std::size_t i = 0; i < count; ++i) each(keys[i], static_cast<Slot>(first + i));
    }
}

// The same for the rows of `slots`.
template <class Probe, class Each>
void for_each_row(const Storage& storage, const Query& query, std::span<const Slot> slots,
                  Probe& probe, const Each& each) {
    float keys[kRowsAtOnce];
    for (std::size_t first = 0; first < slots.size(); first += kRowsAtOnce) {
        const std::size_t count = std::min(kRowsAtOnce, slots.size() - first);
        storage.keys(query, slots.data() + first, count, keys);
        probe.computed(count);
        probe.poll();
        for (std::size_t i = 0; i < count; ++i) each(keys[i], slots[first + i]);
    }
}

template <class Probe, class Each>
void for_each_row(const Storage& storage, const Query& query, const Allowed& allowed, Probe& probe,
                  const Each& each) {
    allowed.for_each([&](const Slot* slots, std::size_t count) {
        for_each_row(storage, query, std::span(slots, count), probe, each);
    });
}

// Calls rows(kept), which inserts what is below the bound, and leaves the k nearest in order.
template <class Rows>
void keep_nearest(std::size_t k, CandidatePool& nearest, const Rows& rows) {
    constexpr std::size_t kMany = 1024;
    nearest.reset(k);
    if (k <= kMany) {
        rows(nearest);
    } else {
        NearestOfMany many(k);
        rows(many);
        nearest.assign(many.sorted());
    }
}

}  // namespace

template <class Probe>
void sweep(const Storage& storage, const Query& query, std::size_t k, CandidatePool& nearest,
           Probe& probe) {
    keep_nearest(k, nearest, [&](auto& kept) {
        for_each_row(storage, query, probe, [&](float key, Slot slot) {
            if (key < kept.bound() && storage.is_live(slot)) kept.insert(key, slot);
        });
    });
}

template <class Probe, class Slots>
void sweep(const Storage& storage, const Query& query, const Slots& slots, std::size_t k,
           CandidatePool& nearest, Probe& probe) {
    keep_nearest(k, nearest, [&](auto& kept) {
        for_each_row(storage, query, slots, probe, [&](float key, Slot slot) {
            if (key < kept.bound()) kept.insert(key, slot);
        });
    });
}

template <class Probe>
void sweep_within(const Storage& storage, const Query& query, float bound,
                  std::vector<Candidate>& found, Probe& probe) {
    for_each_row(storage, query, probe, [&](float key, Slot slot) {
        if (key <= bound && storage.is_live(slot)) found.push_back({key, slot});
    });
}

template <class Probe>
void sweep_within(const Storage& storage, const Query& query, const Allowed& allowed, float bound,
                  std::vector<Candidate>& found, Probe& probe) {
    for_each_row(storage, query, allowed, probe, [&](float key, Slot slot) {
        if (key <= bound) found.push_back({key, slot});
    });
}

#define LLMSPELL_SWEEPS(Probe)                                                                     \
    template void sweep(const Storage&, const Query&, std::size_t, CandidatePool&, Probe&);        \
    template void sweep(const Storage&, const Query&, const std::span<const Slot>&, std::size_t,   \
                        CandidatePool&, Probe&);                                                   \
    template void sweep(const Storage&, const Query&, const Allowed&, std::size_t, CandidatePool&, \
                        Probe&);                                                                   \
    template void sweep_within(const Storage&, const Query&, float, std::vector<Candidate>&,       \
                               Probe&);                                                            \
    template void sweep_within(const Storage&, const Query&, const Allowed&, float,                \
                               std::vector<Candidate>&, Probe&);
LLMSPELL_SWEEPS(Unwatched)
LLMSPELL_SWEEPS(Watched)
#undef LLMSPELL_SWEEPS

}  // namespace llmspell::index
