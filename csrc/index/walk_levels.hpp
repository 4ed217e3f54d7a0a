// What the files of the walk's levels share before they differ.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "index/walk.hpp"
#include "simd/levels.hpp"

namespace llmspell::index {

struct Range {
    float low, high;
};

// Of a block of a row under l2.
struct BlockParts {
    BlockParts(const RowLayout& layout, const std::byte* block)
        : biases(reinterpret_cast<const float*>(block + layout.biases_at())),
          leading(reinterpret_cast<const std::int16_t*>(block + layout.leading_at())) {}

    const float* biases;
    const std::int16_t* leading;
};

// The weights of a pair of axes, as 32 bits.
inline std::int32_t weights_of(const WalkQuery& query, std::size_t axis) {
    std::int32_t pair;
    std::memcpy(&pair, query.weights + axis, sizeof(pair));
    return pair;
}

// Moves [at, end) up by one; a level may have its own.
inline void make_room(std::int32_t* keys, Slot* slots, std::size_t at, std::size_t end) {
    std::memmove(keys + at + 1, keys + at, (end - at) * sizeof(*keys));
    std::memmove(slots + at + 1, slots + at, (end - at) * sizeof(*slots));
}

namespace scalar {
const WalkKernels& kernels() noexcept;
}
#ifdef LLMSPELL_X86
namespace avx2 {
const WalkKernels& kernels() noexcept;
}
namespace avx512 {
const WalkKernels& kernels() noexcept;
}
#endif
#ifdef LLMSPELL_NEON
namespace neon {
const WalkKernels& kernels() noexcept;
}
#endif

}  // namespace llmspell::index
