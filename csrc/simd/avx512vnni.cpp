#include "simd/levels.hpp"

#ifdef LLMSPELL_X86

#include <immintrin.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

LLMSPELL_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace llmspell::simd::avx512vnni {
namespace {

#include "simd/avx512-inl.hpp"

// vpdpwssd on widened bytes is exact; vpdpbusd would need one side unsigned.
inline I dot_w(I acc, W a, W b) { return _mm512_dpwssd_epi32(acc, a, b); }

#include "simd/kernels-inl.hpp"

constexpr Kernels kKernels = make_kernels(Level::avx512vnni);

}  // namespace

const Kernels& kernels() noexcept { return kKernels; }

}  // namespace llmspell::simd::avx512vnni

LLMSPELL_TARGET_END

#endif
