// For tests that CTest also runs with LLMSPELL_SIMD forced to each level: a machine without the
// level skips the run.
#pragma once

#include <cstdlib>
#include <string_view>

#include "simd/kernels.hpp"

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in CMakeLists.txt

constexpr llmspell::simd::Level kLevels[] = {
    llmspell::simd::Level::scalar, llmspell::simd::Level::neon, llmspell::simd::Level::avx2,
    llmspell::simd::Level::avx512, llmspell::simd::Level::avx512vnni};

// The level that LLMSPELL_SIMD forces; empty where it forces none.
inline std::string_view forced_level() {
    const char* forced = std::getenv("LLMSPELL_SIMD");
    return forced == nullptr ? std::string_view() : std::string_view(forced);
}

inline bool forced_level_is_missing() {
    for (const auto level : kLevels) {
        if (llmspell::simd::name(level) == forced_level()) {
            return llmspell::simd::table(level) == nullptr;
        }
    }
    return false;
}
