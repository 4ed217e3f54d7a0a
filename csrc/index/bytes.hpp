// Vectors as whole numbers of a unit, for products of bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace llmspell::index {

// Rounds to whole numbers from -127 to 127 of a unit, which it returns.
inline float to_bytes(const float* vector, std::size_t dim, std::int8_t* out) {
    float largest = 0.0f;
    for (std::size_t i = 0; i < dim; ++i) largest = std::max(largest, std::fabs(vector[i]));
    const float unit = std::max(largest / 127.0f, std::numeric_limits<float>::min());
    const float inverse = 1.0f / unit;
    for (std::size_t i = 0; i < dim; ++i) {
        out[i] = static_cast<std::int8_t>(static_cast<int>(vector[i] * inverse + 127.5f) - 127);
    }
    return unit;
}

}  // namespace llmspell::index
