#include "simd/levels.hpp"

#ifdef LLMSPELL_X86

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

LLMSPELL_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")

namespace llmspell::simd::avx512 {
namespace {

#include "simd/avx512-inl.hpp"

inline I dot_w(I acc, W a, W b) { return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)); }

using ByteDot = void;

#include "simd/kernels-inl.hpp"

constexpr Kernels kKernels = make_kernels(Level::avx512);

}  // namespace

const Kernels& kernels() noexcept { return kKernels; }

}  // namespace llmspell::simd::avx512

LLMSPELL_TARGET_END

#endif
