// Inner products of one vector with rows, at the CPU's instruction set.
#pragma once

#include <cstddef>

#include "simd/kernels.hpp"

namespace llmspell::index {

// out[i] = <vector, row i>, of rows that are `stride` floats apart.
inline void dots(const float* vector, const float* rows, std::size_t stride, std::size_t count,
                 std::size_t dim, float* out) {
    const auto& kernel = simd::active().ip[static_cast<std::size_t>(simd::ElementType::f32)];
    kernel.batch(vector, rows, stride * sizeof(float), nullptr, count, dim, out);
}

}  // namespace llmspell::index
