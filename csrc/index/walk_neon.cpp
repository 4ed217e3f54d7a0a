#include "index/walk_levels.hpp"

#ifdef LLMSPELL_NEON

#include <arm_neon.h>

namespace llmspell::index::neon {
namespace {

// The looked-up entries are widened as they are added up: in the order of the bytes, where those of
// neighbours 0 to 7 alternate with those of 8 to 15.
inline void sums(const std::uint8_t* codes, const std::uint8_t* tables, std::size_t groups,
                 std::uint16_t* out) {
    uint16x8_t low[2], high[2];
    low[0] = low[1] = high[0] = high[1] = vdupq_n_u16(0);
    for (std::size_t at = 0; at < groups * kGroupBytes; at += kGroupBytes) {
        const uint8x16_t code = vld1q_u8(codes + at), table = vld1q_u8(tables + at);
        const uint8x16_t found[2] = {vqtbl1q_u8(table, vandq_u8(code, vdupq_n_u8(15))),
                                     vqtbl1q_u8(table, vshrq_n_u8(code, 4))};
        for (int half = 0; half < 2; ++half) {
            low[half] = vaddw_u8(low[half], vget_low_u8(found[half]));
            high[half] = vaddw_high_u8(high[half], found[half]);
        }
    }
    for (int half = 0; half < 2; ++half) {
        vst1q_u16(out + 16 * half, vuzp1q_u16(low[half], high[half]));
        vst1q_u16(out + 16 * half + 8, vuzp2q_u16(low[half], high[half]));
    }
}

template <bool kBias>
inline void keys_of(const WalkQuery& query, const std::uint16_t* sums, const RowLayout& layout,
                    const std::byte* block, std::int32_t* out) {
    const auto* factors = reinterpret_cast<const std::uint16_t*>(block);
    const float32x4_t step = vdupq_n_f32(query.step), offset = vdupq_n_f32(query.offset);
    for (std::size_t i = 0; i < kBlock; i += 4) {
        const float32x4_t sum = vcvtq_f32_u32(vmovl_u16(vld1_u16(sums + i)));
        const float32x4_t product = vfmaq_f32(offset, sum, step);
        const float32x4_t factor = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(factors + i)));
        float32x4_t bias = vdupq_n_f32(0.0f);
        if constexpr (kBias) {
            const BlockParts parts(layout, block);
            int32x4_t along = vdupq_n_s32(0);
            for (std::size_t a = 0; a < layout.leading; a += 2) {
                const int16x4x2_t pair = vld2_s16(parts.leading + a * kBlock + 2 * i);
                along = vmlal_n_s16(along, pair.val[0], query.weights[a]);
                along = vmlal_n_s16(along, pair.val[1], query.weights[a + 1]);
            }
            bias = vfmaq_n_f32(vaddq_f32(vld1q_f32(parts.biases + i), vdupq_n_f32(query.shift)),
                               vcvtq_f32_s32(along), query.unit);
        }
        const int32x4_t key = vreinterpretq_s32_f32(vfmsq_f32(bias, factor, product));
        const int32x4_t flip = vandq_s32(vshrq_n_s32(key, 31), vdupq_n_s32(INT32_MAX));
        vst1q_s32(out + i, vandq_s32(veorq_s32(key, flip), vdupq_n_s32(~WalkPool::kFlags)));
    }
}

inline uint32x4_t is_below(const std::int32_t* keys, std::int32_t bound) {
    return vcltq_s32(vld1q_s32(keys), vdupq_n_s32(bound));
}

// No instruction gathers the lanes' bits: each byte of a mask keeps its own, and they are added up.
inline std::uint32_t below(const std::int32_t* keys, const Slot* ids, std::int32_t bound) {
    constexpr std::uint8_t kBits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const auto four = [&](std::size_t i) {
        const uint32x4_t none = vceqq_u32(vld1q_u32(ids + i), vdupq_n_u32(kNoSlot));
        return vreinterpretq_u16_u32(vbicq_u32(is_below(keys + i, bound), none));
    };
    const auto eight = [&](std::size_t i) {
        return vreinterpretq_u8_u16(vuzp1q_u16(four(i), four(i + 4)));
    };
    const auto bits = [&](std::size_t i) {
        return vandq_u8(vuzp1q_u8(eight(i), eight(i + 8)), vld1q_u8(kBits));
    };
    const uint8x16_t pairs = vpaddq_u8(bits(0), bits(16));
    const uint8x16_t fours = vpaddq_u8(pairs, pairs);
    return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(fours, fours)), 0);
}

inline std::size_t count_below(const std::int32_t* keys, std::size_t n, std::int32_t key) {
    uint32x4_t left = vdupq_n_u32(0), right = left;  // less one for each lane that is below
    for (std::size_t i = 0; i < n; i += 8) {
        left = vaddq_u32(left, is_below(keys + i, key));
        right = vaddq_u32(right, is_below(keys + i + 4, key));
    }
    return 0u - vaddvq_u32(vaddq_u32(left, right));
}

inline Range add_up(const float* projected, const float* points, std::size_t axes, float* out) {
    float32x4_t sum[4];
    for (float32x4_t& four : sum) four = vdupq_n_f32(0.0f);
    for (std::size_t a = 0; a < axes; ++a, points += kGroupPoints) {
        const float32x4_t x = vdupq_n_f32(projected[a]);
        for (std::size_t i = 0; i < 4; ++i) {
            sum[i] = vfmaq_f32(sum[i], x, vld1q_f32(points + 4 * i));
        }
    }
    for (std::size_t i = 0; i < 4; ++i) vst1q_f32(out + 4 * i, sum[i]);
    return {vminvq_f32(vminq_f32(vminq_f32(sum[0], sum[1]), vminq_f32(sum[2], sum[3]))),
            vmaxvq_f32(vmaxq_f32(vmaxq_f32(sum[0], sum[1]), vmaxq_f32(sum[2], sum[3])))};
}

inline void to_table(const float* entries, float low, float scale, std::uint8_t* out) {
    const auto steps = [&](std::size_t i) {
        const float32x4_t above = vsubq_f32(vld1q_f32(entries + i), vdupq_n_f32(low));
        const float32x4_t scaled = vmulq_n_f32(above, scale);
        return vcvtnq_u32_f32(vminq_f32(scaled, vdupq_n_f32(255.0f)));
    };
    const auto words = [&](std::size_t i) {
        return vcombine_u16(vmovn_u32(steps(i)), vmovn_u32(steps(i + 4)));
    };
    vst1q_u8(out, vcombine_u8(vmovn_u16(words(0)), vmovn_u16(words(8))));
}

// A chunk's sums of eight products fit 16 bits, each at most 15 * 127.
inline std::int32_t nibble_product(const std::int8_t* query, const std::uint8_t* codes,
                                   std::size_t chunks) {
    int32x4_t sum = vdupq_n_s32(0);
    for (std::size_t c = 0; c < chunks; ++c, query += kChunkDims, codes += kChunkBytes) {
        int16x8_t even = vdupq_n_s16(0), odd = even;
        for (std::size_t i = 0; i < kChunkBytes; i += 16) {
            const uint8x16_t pairs = vld1q_u8(codes + i);
            const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15)));
            const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(pairs, 4));
            const int8x16_t by_low = vld1q_s8(query + i);
            const int8x16_t by_high = vld1q_s8(query + kChunkBytes + i);
            even = vmlal_s8(even, vget_low_s8(low), vget_low_s8(by_low));
            odd = vmlal_high_s8(odd, low, by_low);
            even = vmlal_s8(even, vget_low_s8(high), vget_low_s8(by_high));
            odd = vmlal_high_s8(odd, high, by_high);
        }
        sum = vpadalq_s16(vpadalq_s16(sum, even), odd);
    }
    return vaddvq_s32(sum);
}

inline float largest(const float* vector, std::size_t dim) {
    float32x4_t most = vdupq_n_f32(0.0f);
    std::size_t i = 0;
    for (; i + 4 <= dim; i += 4) most = vmaxnmq_f32(most, vabsq_f32(vld1q_f32(vector + i)));
    float out = vmaxnmvq_f32(most);
    for (; i < dim; ++i) out = std::max(out, std::fabs(vector[i]));
    return out;
}

inline void round_all(const float* vector, std::size_t dim, float inverse, int offset,
                      std::int8_t* out) {
    // Without a sign, for GCC takes vadd_s8 for a sum that must not overflow.
    const uint8x8_t shift = vdup_n_u8(static_cast<std::uint8_t>(offset));
    const auto four = [&](const float* from) {
        return vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(from), inverse)));
    };
    std::size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        const int16x8_t words = vcombine_s16(four(vector + i), four(vector + i + 4));
        const uint8x8_t bytes = vreinterpret_u8_s8(vmovn_s16(words));
        vst1_s8(out + i, vreinterpret_s8_u8(vadd_u8(bytes, shift)));
    }
    for (; i < dim; ++i) {
        out[i] = static_cast<std::int8_t>(std::lrint(vector[i] * inverse) + offset);
    }
}

// Products of bytes with a sign: the query without its offset, so that there is nothing to take
// off. Four of them, of two neighbouring numbers of an axis each time, fit 16 bits: 2 * 127 * 128.
void sum_axes(const std::int8_t* query, const std::int8_t* rows, std::size_t quads,
              const std::int32_t*, std::size_t blocks, std::int32_t* out) {
    constexpr std::size_t kQuadBytes = 4 * kAxisBlock;  // of a block's rows
    const auto numbers = [&](std::size_t i) {
        std::uint32_t four;
        std::memcpy(&four, query + 4 * i, sizeof(four));
        return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
    };
    for (std::size_t b = 0; b < blocks; ++b, out += kAxisBlock) {
        int32x4_t sum[4];
        for (int32x4_t& four : sum) four = vdupq_n_s32(0);
        std::size_t i = 0;
        for (; i + 2 <= quads; i += 2, rows += 2 * kQuadBytes) {
            const int8x16_t first = numbers(i), second = numbers(i + 1);
            for (std::size_t j = 0; j < 4; ++j) {
                const int8x16_t by_first = vld1q_s8(rows + 16 * j);
                const int8x16_t by_second = vld1q_s8(rows + kQuadBytes + 16 * j);
                int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(by_first));
                int16x8_t high = vmull_high_s8(first, by_first);
                low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(by_second));
                high = vmlal_high_s8(high, second, by_second);
                sum[j] = vpadalq_s16(sum[j], vpaddq_s16(low, high));
            }
        }
        if (i < quads) {
            const int8x16_t last = numbers(i);
            for (std::size_t j = 0; j < 4; ++j) {
                const int8x16_t by_last = vld1q_s8(rows + 16 * j);
                const int16x8_t low = vmull_s8(vget_low_s8(last), vget_low_s8(by_last));
                sum[j] = vpadalq_s16(sum[j], vpaddq_s16(low, vmull_high_s8(last, by_last)));
            }
            rows += kQuadBytes;
        }
        for (std::size_t j = 0; j < 4; ++j) vst1q_s32(out + 4 * j, sum[j]);
    }
}

#include "index/walk-inl.hpp"

}  // namespace

const WalkKernels& kernels() noexcept { return kWalkKernels; }

}  // namespace llmspell::index::neon

#endif
