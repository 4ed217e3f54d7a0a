#include "index/flat.hpp"

#include <algorithm>

namespace llmspell::index {
namespace {

constexpr std::size_t kRowsAtOnce = 256;

}  // namespace

void sweep(const Storage& storage, const Query& query, std::size_t k, CandidatePool& nearest) {
    nearest.reset(k);
    float keys[kRowsAtOnce];
    for (std::size_t first = 0; first < storage.slots(); first += kRowsAtOnce) {
        const std::size_t count = std::min(kRowsAtOnce, storage.slots() - first);
        storage.keys_from(query, static_cast<Slot>(first), count, keys);
        for (std::size_t i = 0; i < count; ++i) {
            const auto slot = static_cast<Slot>(first + i);
            if (keys[i] < nearest.bound() && storage.is_live(slot)) nearest.insert(keys[i], slot);
        }
    }
}

void sweep(const Storage& storage, const Query& query, std::span<const Slot> slots, std::size_t k,
           CandidatePool& nearest) {
    nearest.reset(k);
    float keys[kRowsAtOnce];
    for (std::size_t first = 0; first < slots.size(); first += kRowsAtOnce) {
        const std::size_t count = std::min(kRowsAtOnce, slots.size() - first);
        storage.keys(query, slots.data() + first, count, keys);
        for (std::size_t i = 0; i < count; ++i) {
            if (keys[i] < nearest.bound()) nearest.insert(keys[i], slots[first + i]);
        }
    }
}

}  // namespace llmspell::index
