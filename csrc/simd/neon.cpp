#include "simd/levels.hpp"

#ifdef LLMSPELL_NEON

#include <arm_neon.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

// Advanced SIMD is part of every AArch64 CPU, half-precision conversion included, so this level
// needs no target attribute.
namespace llmspell::simd::neon {
namespace {

using V = float32x4_t;
constexpr std::size_t kLanes = 4;
inline V zero() { return vdupq_n_f32(0.0f); }
inline V splat(float x) { return vdupq_n_f32(x); }
inline V load(const float* p) { return vld1q_f32(p); }
inline V load(const std::uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
inline V load(const BFloat16* p) {
    const uint16x4_t halves = vld1_u16(reinterpret_cast<const std::uint16_t*>(p));
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(halves), 16));
}
inline V load(const std::int8_t* p) {
    std::int32_t four;
    std::memcpy(&four, p, sizeof(four));
    const int16x8_t words = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
}
constexpr std::uint32_t kLastLanes[2 * kLanes] = {0, 0, 0, 0, ~0u, ~0u, ~0u, ~0u};
inline V keep_last(V v, std::size_t count) {
    return vreinterpretq_f32_u32(
        vandq_u32(vreinterpretq_u32_f32(v), vld1q_u32(kLastLanes + count)));
}
inline V add(V a, V b) { return vaddq_f32(a, b); }
inline V sub(V a, V b) { return vsubq_f32(a, b); }
inline V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
inline V abs(V v) { return vabsq_f32(v); }
inline float sum(V v) { return vaddvq_f32(v); }

using W = int16x8_t;
using I = int32x4_t;
constexpr std::size_t kWords = 8;
inline I zero_i() { return vdupq_n_s32(0); }
inline W ones_w() { return vdupq_n_s16(1); }
inline W widen(const std::int8_t* p) { return vmovl_s8(vld1_s8(p)); }
constexpr std::int16_t kLastWords[2 * kWords] = {0,  0,  0,  0,  0,  0,  0,  0,
                                                 -1, -1, -1, -1, -1, -1, -1, -1};
inline W keep_last_w(W w, std::size_t count) { return vandq_s16(w, vld1q_s16(kLastWords + count)); }
inline W sub_w(W a, W b) { return vsubq_s16(a, b); }
inline W abs_w(W w) { return vabsq_s16(w); }
inline I dot_w(I acc, W a, W b) {
    acc = vmlal_s16(acc, vget_low_s16(a), vget_low_s16(b));
    return vmlal_high_s16(acc, a, b);
}
inline std::int32_t sum_i(I v) { return vaddvq_s32(v); }

using B = uint8x16_t;
using N = uint32x4_t;
constexpr std::size_t kBitBytes = 16;
inline B load_bits(const Bits* p) { return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)); }
inline B xor_b(B a, B b) { return veorq_u8(a, b); }
inline N zero_n() { return vdupq_n_u32(0); }
inline N count_n(N acc, B b) { return vpadalq_u16(acc, vpaddlq_u8(vcntq_u8(b))); }
inline std::uint32_t sum_n(N n) { return vaddvq_u32(n); }

void f32_to_f16(const float* in, std::uint16_t* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const float16x4_t half = vcvt_f16_f32(vdupq_n_f32(in[i]));
        out[i] = vget_lane_u16(vreinterpret_u16_f16(half), 0);
    }
}

void f16_to_f32(const std::uint16_t* in, float* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(in[i]))), 0);
    }
}

using ByteDot = void;

#include "simd/kernels-inl.hpp"

constexpr Kernels kKernels = make_kernels(Level::neon);

}  // namespace

const Kernels& kernels() noexcept { return kKernels; }

}  // namespace llmspell::simd::neon

#endif
