#include "index/filter.hpp"

#include <cstring>

namespace llmspell::index {
namespace {

// 64 bits from the bit `first` on, zero where there are none.
std::uint64_t word_at(const Filter& filter, Label first) noexcept {
    if (first >= filter.bit_count) return 0;
    const std::size_t from = first / 8, bytes = filter.bit_count / 8 - from;
    const unsigned shift = first % 8;
    std::uint64_t word = 0;
    if (bytes >= 8) {  // a copy of a known length is one instruction
        std::memcpy(&word, filter.bits + from, 8);
    } else {
        std::memcpy(&word, filter.bits + from, bytes);
    }
    if (shift == 0) return word;
    const std::uint64_t next = bytes > 8 ? filter.bits[from + 8] : 0;
    return word >> shift | next << (64 - shift);
}

std::uint64_t gather_word(const Storage& storage, const Filter& filter, Slot first) noexcept {
    const std::size_t count = std::min<std::size_t>(64, storage.slots() - first);
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < count; ++i) {
        word |= std::uint64_t{filter.bit(storage.label(static_cast<Slot>(first + i)))} << i;
    }
    return word;
}

void allow_bits(const Storage& storage, const Filter& filter, std::vector<std::uint64_t>& allowed) {
    const bool all_live = storage.live() == storage.slots();
    for (std::size_t w = 0; w < allowed.size(); ++w) {
        const Slot first = static_cast<Slot>(64 * w);
        std::uint64_t word = storage.consecutive() ? word_at(filter, storage.label(0) + first)
                                                   : gather_word(storage, filter, first);
        if (word != 0 && !all_live) word &= storage.live_word(first);
        allowed[w] = word;
    }
    // What a bitmap says of ids beyond the last.
    if (storage.slots() % 64 != 0) {
        allowed.back() &= (std::uint64_t{1} << (storage.slots() % 64)) - 1;
    }
}

// Ids that come in the order of their slots are found without a look at the map.
void allow_ids(const Storage& storage, const Filter& filter, std::vector<std::uint64_t>& allowed) {
    Label expected = 0;
    Slot next = 0;
    for (std::size_t i = 0; i < filter.id_count; ++i) {
        const Label id = filter.ids[i];
        const Label guess = next + (id - expected);
        const bool there = guess < storage.slots() && storage.is_live(static_cast<Slot>(guess)) &&
                           storage.label(static_cast<Slot>(guess)) == id;
        const Slot slot = there ? static_cast<Slot>(guess) : storage.find(id);
        if (slot == kNoSlot) continue;
        allowed[slot / 64] |= std::uint64_t{1} << (slot % 64);
        expected = id;
        next = slot;
    }
}

}  // namespace

std::vector<std::uint64_t> allow(const Storage& storage, const Filter& filter) {
    std::vector<std::uint64_t> allowed((storage.slots() + 63) / 64);
    if (filter.ids != nullptr) {
        allow_ids(storage, filter, allowed);
    } else {
        allow_bits(storage, filter, allowed);
    }
    return allowed;
}

}  // namespace llmspell::index
