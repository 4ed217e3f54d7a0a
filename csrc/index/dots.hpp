// Inner products of one vector with rows, at the CPU's instruction set, and exact lengths.
#pragma once

#include <cstddef>
#include <span>

#include "simd/kernels.hpp"

namespace llmspell::index {

// out[i] = <vector, row i>, of rows that are `stride` floats apart.
inline void dots(const float* vector, const float* rows, std::size_t stride, std::size_t count,
                 std::size_t dim, float* out) {
    const auto& kernel = simd::active().ip[static_cast<std::size_t>(simd::ElementType::f32)];
    kernel.batch(vector, rows, stride * sizeof(float), nullptr, count, dim, out);
}

// In double, as every product is.
inline double squared_length(std::span<const float> vector) noexcept {
    double sum = 0.0;
    for (const float x : vector) sum += static_cast<double>(x) * x;
    return sum;
}

}  // namespace llmspell::index
