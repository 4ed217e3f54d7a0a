#include "simd/levels.hpp"

#ifdef LLMSPELL_X86

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

LLMSPELL_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace llmspell::simd::avx512vnni {
namespace {

#include "simd/avx512-inl.hpp"

inline I dot_w(I acc, W a, W b) { return _mm512_dpwssd_epi32(acc, a, b); }

struct ByteDot {
    static constexpr std::size_t kBytes = 64;
    static inline __m512i load(const std::int8_t* p) { return _mm512_loadu_si512(p); }
    static inline __m512i load_part(const std::int8_t* p, std::size_t count) {
        return _mm512_maskz_loadu_epi8(~__mmask64{0} >> (64 - count), p);
    }
    static inline __m512i flipped_zero() { return _mm512_set1_epi8(-128); }
    static inline __m512i flip(__m512i v) { return _mm512_xor_si512(v, flipped_zero()); }
    static inline I add(I a, I b) { return _mm512_add_epi32(a, b); }
    static inline I step(I acc, __m512i u, __m512i s) { return _mm512_dpbusd_epi32(acc, u, s); }
};

#include "simd/kernels-inl.hpp"

constexpr Kernels kKernels = make_kernels(Level::avx512vnni);

}  // namespace

const Kernels& kernels() noexcept { return kKernels; }

}  // namespace llmspell::simd::avx512vnni

LLMSPELL_TARGET_END

#endif
