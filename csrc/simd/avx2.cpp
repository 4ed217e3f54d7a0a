#include "simd/levels.hpp"

#ifdef LLMSPELL_X86

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

LLMSPELL_TARGET_BEGIN("avx2,fma,f16c")

namespace llmspell::simd::avx2 {
namespace {

using V = __m256;
constexpr std::size_t kLanes = 8;
inline V zero() { return _mm256_setzero_ps(); }
inline V splat(float x) { return _mm256_set1_ps(x); }
inline V load(const float* p) { return _mm256_loadu_ps(p); }
inline V load(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline V load(const BFloat16* p) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline V load(const std::int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
constexpr std::int32_t kLastLanes[2 * kLanes] = {0,  0,  0,  0,  0,  0,  0,  0,
                                                 -1, -1, -1, -1, -1, -1, -1, -1};
inline V keep_last(V v, std::size_t count) {
    const auto* mask = reinterpret_cast<const __m256i*>(kLastLanes + count);
    return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_loadu_si256(mask)));
}
inline V add(V a, V b) { return _mm256_add_ps(a, b); }
inline V sub(V a, V b) { return _mm256_sub_ps(a, b); }
inline V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
inline V abs(V v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
inline float sum(V v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

using W = __m256i;
using I = __m256i;
constexpr std::size_t kWords = 16;
inline I zero_i() { return _mm256_setzero_si256(); }
inline W ones_w() { return _mm256_set1_epi16(1); }
inline W widen(const std::int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
constexpr std::int16_t kLastWords[2 * kWords] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                                 0,  0,  0,  0,  0,  -1, -1, -1, -1, -1, -1,
                                                 -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
inline W keep_last_w(W w, std::size_t count) {
    const auto* mask = reinterpret_cast<const __m256i*>(kLastWords + count);
    return _mm256_and_si256(w, _mm256_loadu_si256(mask));
}
inline W sub_w(W a, W b) { return _mm256_sub_epi16(a, b); }
inline W abs_w(W w) { return _mm256_abs_epi16(w); }
inline I dot_w(I acc, W a, W b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
inline std::int32_t sum_i(I v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

using B = __m256i;
using N = __m256i;
constexpr std::size_t kBitBytes = 32;
inline B load_bits(const Bits* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline B xor_b(B a, B b) { return _mm256_xor_si256(a, b); }
inline N zero_n() { return _mm256_setzero_si256(); }
// The ones of each half byte by a table of 16, summed over eight bytes at once.
inline N count_n(N acc, B b) {
    const __m256i ones =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i half = _mm256_set1_epi8(0x0f);
    const __m256i low = _mm256_shuffle_epi8(ones, _mm256_and_si256(b, half));
    const __m256i high = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(b, 4), half));
    return _mm256_add_epi64(acc,
                            _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
}
inline std::uint32_t sum_n(N n) {
    const __m128i s = _mm_add_epi64(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    return static_cast<std::uint32_t>(
        _mm_cvtsi128_si32(_mm_add_epi64(s, _mm_unpackhi_epi64(s, s))));
}

void f32_to_f16(const float* in, std::uint16_t* out, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < count; ++i) out[i] = _cvtss_sh(in[i], _MM_FROUND_TO_NEAREST_INT);
}

void f16_to_f32(const std::uint16_t* in, float* out, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, load(in + i));
    for (; i < count; ++i) out[i] = _cvtsh_ss(in[i]);
}

using ByteDot = void;

#include "simd/kernels-inl.hpp"

constexpr Kernels kKernels = make_kernels(Level::avx2);

}  // namespace

const Kernels& kernels() noexcept { return kKernels; }

}  // namespace llmspell::simd::avx2

LLMSPELL_TARGET_END

#endif
