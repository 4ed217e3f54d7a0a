#include "index/walk.hpp"

#include <algorithm>
#include <cmath>

#include "index/reach.hpp"
#include "index/walk_levels.hpp"

namespace llmspell::index {

void WalkPool::reset(std::size_t most, std::size_t expanded, const WalkReach& how_far) {
    // One more than the limit, so that a newcomer fits before the last one falls off.
    const std::size_t wanted = most + 1 + 2 * kPad;
    if (slot_memory.size() < wanted) slot_memory.resize(wanted);
    if (key_memory.size() < wanted) key_memory.resize(wanted);
    std::fill(key_memory.data(), key_memory.data() + wanted, kNone);
    size = next = steps = 0;
    limit = most;
    expansions = expanded;
    reach = how_far;
    bound = kNone;
}

std::size_t margin_at(double depth, std::size_t margin) noexcept {
    return static_cast<std::size_t>(
        std::ceil(std::cbrt(depth * depth) * static_cast<double>(margin)));
}

// A walk comes near its query within fewer steps than these; what fills the pool of the others from
// then on is nearer than all that may be returned.
bool FilteredWalk::gives_up() const noexcept {
    return steps >= most_steps || (steps >= 16 + others.limit / 4 && !knows());
}

bool FilteredWalk::settles() {
    constexpr std::size_t kMostSteps = 2;  // as a walk without a filter takes at most
    if (!knows()) return false;
    const std::int32_t* keys = others.keys();
    const auto nearer = std::lower_bound(keys, keys + others.size, last_wanted()) - keys;
    const std::size_t now = wanted + static_cast<std::size_t>(nearer);
    if (rank != now) {
        rank = now;
        // Where they lie deeper than evenly, they lie together, and it is easier to miss them.
        const double real = static_cast<double>(rank) / static_cast<double>(wanted);
        const double more = std::max(1.0, std::sqrt(real / depth));
        usual =
            rank + static_cast<std::size_t>(more * static_cast<double>(margin_at(real, margin)));
        if (reach != nullptr) how_far = reach->at(rank, usual);
    }
    const std::size_t expanded = found.next + others.next;  // of the nearest
    if (reach == nullptr) return expanded >= usual;
    if (expanded >= kMostSteps * usual) return true;
    const float last = WalkPool::value_of(last_wanted());
    const std::int32_t within = WalkPool::key_of(how_far.beyond(last, how_far.expanded));
    found.bound = std::min(found.bound, WalkPool::key_of(how_far.beyond(last, how_far.kept)));
    others.bound = std::min(others.bound, within);
    const auto next = [](const WalkPool& pool) {
        return pool.next < pool.size ? pool.keys()[pool.next] : WalkPool::kNone;
    };
    return std::min(next(found), next(others)) > within;
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
#ifdef LLMSPELL_NEON
        case simd::Level::neon:
            return neon::kernels();
#endif
        default:
            return scalar::kernels();
    }
}

}  // namespace llmspell::index
