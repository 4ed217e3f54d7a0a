// Nanoseconds per distance of every level, metric and element type of this machine:
//   pair    one query and one row, both in L1
//   batch   one query and eight rows in L1
//   random  one query and 16 random rows a call from 256 MiB in huge pages, as a graph search does
// The least of many rounds, so that other work on the machine counts little.
//
//   bench_kernels [dim = 384] [ip | l2 | cosine | l1 | hamming]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/aligned.hpp"
#include "base/random.hpp"
#include "simd/kernels.hpp"

namespace simd = llmspell::simd;

namespace {

constexpr std::uint64_t kSeed = 1;
constexpr std::size_t kHotRows = 8, kRowsPerCall = 16;
constexpr std::size_t kLargeBytes = std::size_t{256} << 20;

float sink = 0;  // keeps the distances from being optimised away

template <class Work>
double nanoseconds(std::size_t distances, int rounds, const Work& work) {
    double least = 1e300;
    for (int round = 0; round < rounds; ++round) {
        const auto start = std::chrono::steady_clock::now();
        work();
        const std::chrono::duration<double, std::nano> elapsed =
            std::chrono::steady_clock::now() - start;
        least = std::min(least, elapsed.count() / static_cast<double>(distances));
    }
    return least;
}

std::string cpu_name() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    }
    return "unknown CPU";
}

void measure(const simd::Metric& metric, std::size_t dim, std::size_t row_bytes,
             const llmspell::AlignedArray<std::byte>& memory,
             const llmspell::AlignedArray<float>& query) {
    constexpr std::size_t kCalls = 2'000;
    const double pair = nanoseconds(kCalls * kHotRows, 50, [&] {
        for (std::size_t call = 0; call < kCalls; ++call) {
            for (std::size_t r = 0; r < kHotRows; ++r) {
                sink += metric.pair(query.data(), memory.data() + r * row_bytes, dim);
            }
        }
    });
    float out[kRowsPerCall];
    const double batch = nanoseconds(kCalls * kHotRows, 50, [&] {
        for (std::size_t call = 0; call < kCalls; ++call) {
            metric.batch(query.data(), memory.data(), row_bytes, nullptr, kHotRows, dim, out);
            sink += out[0];
        }
    });
    llmspell::SplitMix64 random(kSeed);
    std::vector<std::uint32_t> rows(std::size_t{1} << 18);  // 96 MiB of them even as int8
    const std::size_t total = memory.size() / row_bytes;
    for (std::uint32_t& row : rows) row = static_cast<std::uint32_t>(random() % total);
    const double cold = nanoseconds(rows.size(), 6, [&] {
        std::size_t known = 0;
        for (std::size_t at = 0; at < rows.size(); at += kRowsPerCall) {
            // A search learns its next rows from the distances of the last ones.
            metric.batch(query.data(), memory.data(), row_bytes, rows.data() + at + known,
                         kRowsPerCall, dim, out);
            known = static_cast<std::size_t>(out[kRowsPerCall - 1] * 0.0f);
            sink += out[0];
        }
    });
    std::printf("%8.1f %8.1f %8.1f\n", pair, batch, cold);
}

}  // namespace

int main(int argc, char** argv) {
    const auto dim = static_cast<std::size_t>(argc > 1 ? std::atoi(argv[1]) : 384);
    const std::string wanted = argc > 2 ? argv[2] : "ip";
    if (dim < 1 || (wanted != "ip" && wanted != "l2" && wanted != "cosine" && wanted != "l1" &&
                    wanted != "hamming")) {
        std::fprintf(stderr, "usage: bench_kernels [dim] [ip | l2 | cosine | l1 | hamming]\n");
        return 2;
    }
    // Bytes that are small whole numbers in every element type, and never NaN.
    llmspell::SplitMix64 random(kSeed);
    llmspell::AlignedArray<float> query;
    query.resize(dim);
    for (std::size_t i = 0; i < dim; ++i) query[i] = static_cast<float>(random.unit());
    llmspell::AlignedArray<std::byte> memory;
    memory.resize(kLargeBytes);
    for (std::size_t i = 0; i < memory.size(); ++i)
        memory[i] = static_cast<std::byte>(random() & 0x3f);

    std::printf("%s, %zu dimensions, %s, seed %llu; ns per distance\n", cpu_name().c_str(), dim,
                wanted.c_str(), static_cast<unsigned long long>(kSeed));
    std::printf("%-12s %-8s %8s %8s %8s\n", "level", "rows", "pair", "batch", "random");
    constexpr simd::Level kLevels[] = {simd::Level::scalar, simd::Level::neon, simd::Level::avx2,
                                       simd::Level::avx512, simd::Level::avx512vnni};
    for (const simd::Level level : kLevels) {
        const simd::Kernels* kernels = simd::table(level);
        if (kernels == nullptr) continue;
        if (wanted == "hamming") {
            std::printf("%-12s %-8s ", simd::name(level).data(), "binary");
            measure(kernels->hamming, dim, simd::vector_bytes(simd::ElementType::binary, dim),
                    memory, query);
            continue;
        }
        constexpr const char* kTypes[] = {"float32", "float16", "int8", "bfloat16"};
        for (std::size_t type = 0; type < std::size(kTypes); ++type) {
            const auto& metrics = wanted == "ip"   ? kernels->ip
                                  : wanted == "l2" ? kernels->l2
                                  : wanted == "l1" ? kernels->l1
                                                   : kernels->cosine;
            std::printf("%-12s %-8s ", simd::name(level).data(), kTypes[type]);
            measure(metrics[type], dim,
                    simd::vector_bytes(static_cast<simd::ElementType>(type), dim), memory, query);
        }
    }
    return sink == 12345.0f ? 1 : 0;
}
