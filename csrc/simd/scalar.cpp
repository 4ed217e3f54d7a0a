#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "simd/half.hpp"
#include "simd/levels.hpp"

#if !defined(__GNUC__) && !defined(__clang__)
#define __builtin_prefetch(address) static_cast<void>(address)
#endif

namespace llmspell::simd::scalar {
namespace {

using V = float;
constexpr std::size_t kLanes = 1;
inline V zero() { return 0.0f; }
inline V splat(float x) { return x; }
inline V load(const float* p) { return *p; }
inline V load(const std::uint16_t* p) { return half_to_float(*p); }
inline V load(const BFloat16* p) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(*p) << 16);
}
inline V load(const std::int8_t* p) { return *p; }
inline V add(V a, V b) { return a + b; }
inline V sub(V a, V b) { return a - b; }
inline V fma(V a, V b, V c) { return a * b + c; }
inline V abs(V v) { return std::fabs(v); }
inline float sum(V v) { return v; }

using W = std::int16_t;
using I = std::int32_t;
constexpr std::size_t kWords = 1;
inline I zero_i() { return 0; }
inline W ones_w() { return 1; }
inline W widen(const std::int8_t* p) { return *p; }
inline W sub_w(W a, W b) { return static_cast<W>(a - b); }
inline W abs_w(W w) { return w < 0 ? static_cast<W>(-w) : w; }
inline I dot_w(I acc, W a, W b) { return acc + a * b; }
inline std::int32_t sum_i(I v) { return v; }

using B = std::uint64_t;
using N = std::uint32_t;
constexpr std::size_t kBitBytes = 8;
inline B load_bits(const Bits* p) {
    B word;
    std::memcpy(&word, p, sizeof(word));
    return word;
}
inline B xor_b(B a, B b) { return a ^ b; }
inline N zero_n() { return 0; }
inline N count_n(N acc, B b) { return acc + static_cast<N>(std::popcount(b)); }
inline std::uint32_t sum_n(N n) { return n; }

void f32_to_f16(const float* in, std::uint16_t* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) out[i] = float_to_half(in[i]);
}

void f16_to_f32(const std::uint16_t* in, float* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) out[i] = half_to_float(in[i]);
}

using ByteDot = void;

#include "simd/kernels-inl.hpp"

constexpr Kernels kKernels = make_kernels(Level::scalar);

}  // namespace

const Kernels& kernels() noexcept { return kKernels; }

}  // namespace llmspell::simd::scalar
