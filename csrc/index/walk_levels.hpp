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

}  // namespace llmspell::index
