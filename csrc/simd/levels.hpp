// Which levels this build holds, and their tables.
#pragma once

#include "simd/kernels.hpp"

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define LLMSPELL_X86 1
#endif
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define LLMSPELL_NEON 1
#endif

// Begin and end of code compiled for a level, whatever the flags of the file.
#if defined(__clang__)
#define LLMSPELL_PRAGMA(text) _Pragma(#text)
#define LLMSPELL_TARGET_BEGIN(features) \
    LLMSPELL_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define LLMSPELL_TARGET_END LLMSPELL_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define LLMSPELL_PRAGMA(text) _Pragma(#text)
#define LLMSPELL_TARGET_BEGIN(features) \
    LLMSPELL_PRAGMA(GCC push_options) LLMSPELL_PRAGMA(GCC target(features))
#define LLMSPELL_TARGET_END LLMSPELL_PRAGMA(GCC pop_options)
#endif

namespace llmspell::simd {

namespace scalar {
const Kernels& kernels() noexcept;
}
#ifdef LLMSPELL_X86
namespace avx2 {
const Kernels& kernels() noexcept;
}
namespace avx512 {
const Kernels& kernels() noexcept;
}
namespace avx512vnni {
const Kernels& kernels() noexcept;
}
#endif
#ifdef LLMSPELL_NEON
namespace neon {
const Kernels& kernels() noexcept;
}
#endif

}  // namespace llmspell::simd
