#include "index/walk.hpp"

#include <algorithm>

#include "index/walk_levels.hpp"

namespace llmspell::index {

void WalkPool::reset(std::size_t limit) {
    // One more than the limit, so that a newcomer fits before the last one falls off.
    const std::size_t wanted = limit + 1 + 2 * kPad;
    if (keys_.size() < wanted) {
        keys_.resize(wanted);
        slots_.resize(wanted);
    }
    std::fill(keys_.data(), keys_.data() + wanted, kNone);
    size_ = next_ = 0;
    limit_ = limit;
    bound_ = kNone;
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
