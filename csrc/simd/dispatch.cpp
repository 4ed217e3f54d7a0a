#include <cstdlib>
#include <string>

#include "base/error.hpp"
#include "simd/levels.hpp"

#ifdef LLMSPELL_X86
#include <cpuid.h>
#endif

namespace llmspell::simd {
namespace {

constexpr Level kBestFirst[] = {Level::avx512vnni, Level::avx512, Level::avx2, Level::neon,
                                Level::scalar};

#ifdef LLMSPELL_X86
struct Cpuid {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    explicit Cpuid(unsigned leaf) { __get_cpuid_count(leaf, 0, &eax, &ebx, &ecx, &edx); }
};

std::uint64_t xgetbv0() noexcept {
    std::uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<std::uint64_t>(high) << 32) | low;
}

// Intel SDM volume 1, 14.3 and 15.2: the CPU must have the instructions and the operating system
// must save the registers.
Level probe_x86() noexcept {
    constexpr unsigned kOsxsave = 1u << 27, kAvx = 1u << 28, kFma = 1u << 12, kF16c = 1u << 29;
    constexpr unsigned kPopcnt = 1u << 23;
    const Cpuid features(1);
    if ((features.ecx & kOsxsave) == 0) return Level::scalar;
    const std::uint64_t saved = xgetbv0();
    const unsigned wanted = kAvx | kFma | kF16c | kPopcnt;
    if ((saved & 0x6) != 0x6 || (features.ecx & wanted) != wanted) return Level::scalar;

    constexpr unsigned kAvx2 = 1u << 5, kBmi1 = 1u << 3;
    const Cpuid extended(7);
    if ((extended.ebx & (kAvx2 | kBmi1)) != (kAvx2 | kBmi1)) return Level::scalar;

    constexpr unsigned kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
    constexpr unsigned k512 = kF | kDq | kBw | kVl;
    if ((saved & 0xe6) != 0xe6 || (extended.ebx & k512) != k512) return Level::avx2;

    constexpr unsigned kVnni = 1u << 11;
    return (extended.ecx & kVnni) != 0 ? Level::avx512vnni : Level::avx512;
}
#endif

Level best_of_cpu() noexcept {
#if defined(LLMSPELL_X86)
    static const Level level = probe_x86();
    return level;
#elif defined(LLMSPELL_NEON)
    return Level::neon;
#else
    return Level::scalar;
#endif
}

const Kernels& choose() {
    const char* forced = std::getenv("LLMSPELL_SIMD");
    if (forced == nullptr || *forced == '\0') return *table(best_of_cpu());
    std::string available;
    for (const Level level : kBestFirst) {
        const Kernels* kernels = table(level);
        if (kernels == nullptr) continue;
        if (name(level) == forced) return *kernels;
        available += (available.empty() ? "" : ", ") + std::string(name(level));
    }
    throw Error(ErrorCode::config, "LLMSPELL_SIMD is '" + std::string(forced) +
                                       "', but this machine has " + available);
}

}  // namespace

const Kernels* table(Level level) noexcept {
    [[maybe_unused]] const Level best = best_of_cpu();
    switch (level) {
        case Level::scalar:
            return &scalar::kernels();
#ifdef LLMSPELL_X86
        case Level::avx2:
            return best >= Level::avx2 ? &avx2::kernels() : nullptr;
        case Level::avx512:
            return best >= Level::avx512 ? &avx512::kernels() : nullptr;
        case Level::avx512vnni:
            return best >= Level::avx512vnni ? &avx512vnni::kernels() : nullptr;
#endif
#ifdef LLMSPELL_NEON
        case Level::neon:
            return &neon::kernels();
#endif
        default:
            return nullptr;
    }
}

const Kernels& active() {
    static const Kernels& chosen = choose();
    return chosen;
}

std::string_view name(Level level) noexcept {
    switch (level) {
        case Level::scalar:
            return "scalar";
        case Level::neon:
            return "neon";
        case Level::avx2:
            return "avx2";
        case Level::avx512:
            return "avx512";
        case Level::avx512vnni:
            return "avx512vnni";
    }
    return "unknown";
}

std::size_t vector_bytes(ElementType type, std::size_t dim) noexcept {
    constexpr std::size_t kSizes[kNumberTypes] = {4, 2, 1, 2};
    if (type == ElementType::binary) return (dim + 7) / 8;
    return dim * kSizes[static_cast<std::size_t>(type)];
}

}  // namespace llmspell::simd
