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
