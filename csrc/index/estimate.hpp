// What an index will take, before there is one.
#pragma once

#include <cstddef>

#include "index/params.hpp"
#include "index/stats.hpp"
#include "simd/kernels.hpp"

namespace llmspell::index {

struct MemoryEstimate {
    MemoryBytes built;  // all vectors added at once, and searched by one thread
    // The most where vectors come little by little, for room is made for half as many again.
    std::size_t grown = 0;
    std::size_t peak = 0;  // for a moment: grown, an array twice while it grows, learning of codes
};

// For `count` vectors; with quantization for codes of `groups` times four bits, or without codes
// where that is 0. Throws Error(config) where no index is so.
MemoryEstimate estimate_memory(std::size_t count, std::size_t dim, Metric metric,
                               simd::ElementType type, const Params& params, std::size_t groups);

}  // namespace llmspell::index
