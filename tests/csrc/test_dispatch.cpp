// Which table a process gets: LLMSPELL_SIMD names one, and a name that this machine can't honour
// is an error rather than a guess.

#include <stdlib.h>

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "check.hpp"
#include "forced_level.hpp"
#include "simd/kernels.hpp"

namespace simd = llmspell::simd;

namespace {

void every_table_is_complete_and_knows_its_level() {
    CHECK(simd::table(simd::Level::scalar) != nullptr);
    for (const simd::Level level : kLevels) {
        const simd::Kernels* kernels = simd::table(level);
        if (kernels == nullptr) continue;
        CHECK(kernels->level == level);
        for (const auto* metric : {&kernels->ip, &kernels->l2, &kernels->cosine, &kernels->l1}) {
            for (const simd::Metric& entry : *metric) {
                CHECK(entry.pair != nullptr && entry.batch != nullptr);
            }
        }
        CHECK(kernels->l1_scaled != nullptr);
        CHECK(kernels->hamming.pair != nullptr && kernels->hamming.batch != nullptr);
        CHECK(kernels->f32_to_f16 != nullptr && kernels->f16_to_f32 != nullptr);
        CHECK(kernels->f32_to_bf16 != nullptr && kernels->bf16_to_f32 != nullptr);
    }
}

void a_level_implies_those_before_it_on_x86() {
    const bool avx2 = simd::table(simd::Level::avx2) != nullptr;
    const bool avx512 = simd::table(simd::Level::avx512) != nullptr;
    const bool vnni = simd::table(simd::Level::avx512vnni) != nullptr;
    CHECK(avx2 || !avx512);
    CHECK(avx512 || !vnni);
    CHECK(!avx2 || simd::table(simd::Level::neon) == nullptr);
}

std::string refusal_of(const char* forced) {
    ::setenv("LLMSPELL_SIMD", forced, 1);
    try {
        simd::active();
    } catch (const llmspell::Error& error) {
        CHECK(error.code() == llmspell::ErrorCode::config);
        return error.what();
    }
    return "";
}

void a_name_this_machine_lacks_is_refused() {
    const bool x86 = simd::table(simd::Level::avx2) != nullptr;
    for (const char* forced : {"nonsense", "AVX2", x86 ? "neon" : "avx2"}) {
        const std::string message = refusal_of(forced);
        CHECK(message.find(forced) != std::string::npos);
        CHECK(message.find("scalar") != std::string::npos);
    }
}

// Last: the choice is made once per process.
void a_name_it_has_is_taken_once_by_all_threads() {
    ::setenv("LLMSPELL_SIMD", "scalar", 1);
    std::vector<std::thread> threads;
    std::vector<const simd::Kernels*> seen(4, nullptr);
    for (std::size_t t = 0; t < seen.size(); ++t) {
        threads.emplace_back([&seen, t] { seen[t] = &simd::active(); });
    }
    for (auto& thread : threads) thread.join();
    for (const simd::Kernels* kernels : seen) {
        CHECK(kernels == simd::table(simd::Level::scalar));
    }
    ::setenv("LLMSPELL_SIMD", "nonsense", 1);
    CHECK(simd::active().level == simd::Level::scalar);
}

}  // namespace

int main() {
    every_table_is_complete_and_knows_its_level();
    a_level_implies_those_before_it_on_x86();
    a_name_this_machine_lacks_is_refused();
    a_name_it_has_is_taken_once_by_all_threads();
    return check_result();
}
