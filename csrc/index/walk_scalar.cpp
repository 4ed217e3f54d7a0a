#include <bit>

#include "index/walk_levels.hpp"
#include "simd/half.hpp"

#if !defined(__GNUC__) && !defined(__clang__)
#define __builtin_prefetch(address) static_cast<void>(address)
#endif

namespace llmspell::index::scalar {
namespace {

inline void sums(const std::uint8_t* codes, const std::uint8_t* tables, std::size_t groups,
                 std::uint16_t* out) {
    std::fill(out, out + kBlock, std::uint16_t{0});
    for (std::size_t g = 0; g < groups; ++g, codes += kGroupBytes, tables += kGroupBytes) {
        for (std::size_t i = 0; i < kBlock; ++i) {
            const std::uint8_t pair = codes[2 * (i % 8) + i / 8 % 2];
            const std::uint8_t pattern = i < kBlock / 2 ? pair & 15 : pair >> 4;
            out[i] = static_cast<std::uint16_t>(out[i] + tables[pattern]);
        }
    }
}

template <bool kBias>
inline void keys_of(const WalkQuery& query, const std::uint16_t* sums, const RowLayout& layout,
                    const std::byte* block, std::int32_t* out) {
    const auto* factors = reinterpret_cast<const std::uint16_t*>(block);
    for (std::size_t i = 0; i < kBlock; ++i) {
        float bias = 0.0f;
        if constexpr (kBias) {
            const BlockParts parts(layout, block);
            std::int32_t along = 0;
            for (std::size_t a = 0; a < layout.leading; ++a) {
                along += query.weights[a] * parts.leading[(a / 2 * kBlock + i) * 2 + a % 2];
            }
            bias = static_cast<float>(along) * query.unit + (parts.biases[i] + query.shift);
        }
        const float product = static_cast<float>(sums[i]) * query.step + query.offset;
        const auto key =
            std::bit_cast<std::int32_t>(bias - simd::half_to_float(factors[i]) * product);
        out[i] = (key ^ ((key >> 31) & INT32_MAX)) & ~WalkPool::kFlags;
    }
}

inline std::uint32_t below(const std::int32_t* keys, const Slot* ids, std::int32_t bound) {
    std::uint32_t mask = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
        mask |= std::uint32_t{keys[i] < bound && ids[i] != kNoSlot} << i;
    }
    return mask;
}

inline std::size_t count_below(const std::int32_t* keys, std::size_t n, std::int32_t key) {
    return static_cast<std::size_t>(std::lower_bound(keys, keys + n, key) - keys);
}

inline Range add_up(const float* projected, const float* points, std::size_t axes, float* out) {
    std::fill(out, out + kGroupPoints, 0.0f);
    for (std::size_t a = 0; a < axes; ++a) {
        for (std::size_t k = 0; k < kGroupPoints; ++k) {
            out[k] += projected[a] * points[a * kGroupPoints + k];
        }
    }
    return {*std::min_element(out, out + kGroupPoints), *std::max_element(out, out + kGroupPoints)};
}

inline void to_table(const float* entries, float low, float scale, std::uint8_t* out) {
    for (std::size_t k = 0; k < kGroupPoints; ++k) {
        out[k] =
            static_cast<std::uint8_t>(std::lrint(std::min((entries[k] - low) * scale, 255.0f)));
    }
}

inline std::int32_t nibble_product(const std::int8_t* query, const std::uint8_t* codes,
                                   std::size_t chunks) {
    std::int32_t sum = 0;
    for (std::size_t c = 0; c < chunks; ++c, query += kChunkDims, codes += kChunkBytes) {
        for (std::size_t i = 0; i < kChunkBytes; ++i) {
            sum += (codes[i] & 15) * query[i] + (codes[i] >> 4) * query[kChunkBytes + i];
        }
    }
    return sum;
}

inline float largest(const float* vector, std::size_t dim) {
    float out = 0.0f;
    for (std::size_t i = 0; i < dim; ++i) out = std::max(out, std::fabs(vector[i]));
    return out;
}

inline void round_all(const float* vector, std::size_t dim, float inverse, int offset,
                      std::int8_t* out) {
    for (std::size_t i = 0; i < dim; ++i) {
        out[i] = static_cast<std::int8_t>(std::lrint(vector[i] * inverse) + offset);
    }
}

void sum_axes(const std::int8_t* query, const std::int8_t* rows, std::size_t quads,
              const std::int32_t* shifts, std::size_t blocks, std::int32_t* out) {
    std::copy(shifts, shifts + blocks * kAxisBlock, out);
    for (std::size_t b = 0; b < blocks; ++b, out += kAxisBlock) {
        for (std::size_t i = 0; i < 4 * quads; i += 4, rows += 4 * kAxisBlock) {
            for (std::size_t at = 0; at < 4 * kAxisBlock; ++at) {
                out[at / 4] += static_cast<std::uint8_t>(query[i + at % 4]) * rows[at];
            }
        }
    }
}

#include "index/walk-inl.hpp"

}  // namespace

const WalkKernels& kernels() noexcept { return kWalkKernels; }

}  // namespace llmspell::index::scalar
