#include "index/walk.hpp"

#include <algorithm>

#include "index/walk_levels.hpp"

namespace llmspell::index {

void WalkPool::reset(std::size_t most, std::size_t expanded, const WalkReach& how_far) {
    // One more than the limit, so that a newcomer fits before the last one falls off.
    const std::size_t wanted = most + 1 + 2 * kPad;
    if (key_memory.size() < wanted) {
        key_memory.resize(wanted);
        slot_memory.resize(wanted);
    }
    std::fill(key_memory.data(), key_memory.data() + wanted, kNone);
    size = next = 0;
    limit = most;
    expansions = expanded;
    reach = how_far;
    bound = kNone;
}

const WalkKernels& walk_kernels(simd::Level level) noexcept {
    switch (level) {
#ifdef LLMSPELL_X86
        case simd::Level::avx2:
            return avx2::kernels();
        case simd::Level::avx512:
        case simd::Level::avx512vnni:
            return avx512::kernels();
#endif
        default:
            return scalar::kernels();
    }
}

}  // namespace llmspell::index
