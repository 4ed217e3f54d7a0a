// Which of the stored vectors a search may return.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.hpp"
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

// What a filter lets through, laid together to be looked through in order of slots: short codes in
// rows of one block each, and copies of the four-bit rows where a sweep over these takes less.
struct CodeBlocks {
    AlignedArray<std::byte> rows;
    std::size_t count = 0;  // of these
    AlignedArray<std::uint8_t> copies;

    std::size_t bytes() const noexcept { return rows.bytes() + copies.bytes(); }
};

// The slots that a filter lets through, all of them live: a bit for each slot. A view of memory
// that somebody keeps.
struct Allowed {
    std::span<const std::uint64_t> bits;
    std::size_t count = 0;
    const CodeBlocks* blocks = nullptr;  // where there are some

    bool operator()(Slot slot) const noexcept { return (bits[slot / 64] >> (slot % 64)) & 1; }

    // Calls each(slots, n) for all slots, in order, at most kAtOnce a call.
    static constexpr std::size_t kAtOnce = 256;
    template <class Each>
    void for_each(const Each& each) const {
        Slot slots[kAtOnce + 64];
        std::size_t n = 0;
        for (std::size_t w = 0; w < bits.size(); ++w) {
            for (std::uint64_t word = bits[w]; word != 0; word &= word - 1) {
                slots[n++] =
                    static_cast<Slot>(64 * w + static_cast<unsigned>(std::countr_zero(word)));
            }
            if (n < kAtOnce) continue;
            each(slots, kAtOnce);
            n -= kAtOnce;
            std::copy_n(slots + kAtOnce, n, slots);
        }
        if (n > 0) each(slots, n);
    }
};

// The bits of Allowed.
std::vector<std::uint64_t> allow(const Storage& storage, const Filter& filter);

}  // namespace llmspell::index
