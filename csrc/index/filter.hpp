// Which of the stored vectors a search may return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/storage.hpp"

namespace llmspell::index {

// Which labels a search may return. The memory is the caller's.
struct Filter {
    const Label* ids = nullptr;  // a list of labels, in any order
    std::size_t id_count = 0;
    const std::uint8_t* bits = nullptr;  // or a bitmap: bit i, lowest first, allows label i
    std::size_t bit_count = 0;

    bool bit(Label label) const noexcept {
        return label < bit_count && ((bits[label / 8] >> (label % 8)) & 1) != 0;
    }
};

// The slots that a filter lets through, as a list and, for walks, as bits.
struct Allowed {
    std::vector<Slot> slots;
    std::vector<std::uint64_t> bits;

    bool operator()(Slot slot) const noexcept { return (bits[slot / 64] >> (slot % 64)) & 1; }
};

Allowed allow(const Storage& storage, const Filter& filter);

}  // namespace llmspell::index
