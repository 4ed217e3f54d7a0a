#include "index/filter.hpp"

namespace llmspell::index {

Allowed allow(const Storage& storage, const Filter& filter) {
    Allowed allowed;
    allowed.bits.resize((storage.slots() + 63) / 64);
    const auto admit = [&](Slot slot) {
        std::uint64_t& word = allowed.bits[slot / 64];
        const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
        if ((word & bit) != 0) return;
        word |= bit;
        allowed.slots.push_back(slot);
    };
    if (filter.ids != nullptr) {
        for (std::size_t i = 0; i < filter.id_count; ++i) {
            if (const Slot slot = storage.find(filter.ids[i]); slot != kNoSlot) admit(slot);
        }
        return allowed;
    }
    for (Slot slot = 0; slot < storage.slots(); ++slot) {
        if (storage.is_live(slot) && filter.bit(storage.label(slot))) admit(slot);
    }
    return allowed;
}

}  // namespace llmspell::index
