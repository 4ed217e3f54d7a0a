// How far searches by codes are from what memory allows: what a query reads, and how long the same
// memory takes to give as many rows of these lengths, asked for ahead as a walk asks for them.
// One thread; each query's least time of several rounds. With `once` each is asked once and the
// memory isn't timed, to count instructions under valgrind --tool=callgrind.
//
//   bench_limit SNAPSHOT QUERIES(float32, n x dim) [rounds = 7 | once] [ef_search = 16,32,48,64]
//
// From Python: index.save("index.bin"); queries.astype("float32").tofile("queries.f32")
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/aligned.hpp"
#include "base/random.hpp"
#include "index/index.hpp"

using namespace llmspell;

namespace {

constexpr std::size_t kK = 10, kMostQueries = 1000;
constexpr double kStarts = 288;  // nine blocks of 32: the sample of 256, and the entry point's
constexpr std::size_t kMemoryBytes = std::size_t{256} << 20;

double now_us() {
    using namespace std::chrono;
    return duration<double, std::micro>(steady_clock::now().time_since_epoch()).count();
}

std::vector<float> read_queries(const char* path, std::size_t dim) {
    std::ifstream file(path, std::ios::binary);
    std::vector<float> queries(kMostQueries * dim);
    file.read(reinterpret_cast<char*>(queries.data()),
              static_cast<std::streamsize>(queries.size() * sizeof(float)));
    const auto bytes = static_cast<std::size_t>(file.gcount());
    queries.resize(bytes / sizeof(float) / dim * dim);
    return queries;
}

std::vector<std::size_t> numbers(const std::string& text) {
    std::vector<std::size_t> out;
    std::stringstream in(text);
    for (std::string one; std::getline(in, one, ',');) out.push_back(std::stoul(one));
    return out;
}

// Microseconds for a row of `bytes` at random, read whole, two more asked for.
class RandomRows {
  public:
    RandomRows() {
        memory_.resize(kMemoryBytes);
        std::memset(memory_.data(), 1, memory_.size());  // pages of its own
    }
    double microseconds(std::size_t bytes) {
        constexpr std::size_t kRows = 1 << 15, kAhead = 2;
        SplitMix64 random(1);
        std::vector<std::size_t> at(kRows + kAhead);
        for (std::size_t& offset : at) offset = random() % (kMemoryBytes / bytes - 1) * bytes;
        double least = 1e300;
        for (int round = 0; round < 7; ++round) {
            const double begin = now_us();
            for (std::size_t i = 0; i < kRows; ++i) {
                const std::byte* ahead = memory_.data() + at[i + kAhead];
                for (std::size_t line = 0; line < bytes; line += 64) {
                    __builtin_prefetch(ahead + line);
                }
                const std::byte* row = memory_.data() + at[i];
                for (std::size_t line = 0; line < bytes; line += 64) {
                    sum_ += static_cast<unsigned>(row[line]);
                }
            }
            least = std::min(least, (now_us() - begin) / static_cast<double>(kRows));
        }
        return least;
    }
    unsigned sum() const { return sum_; }

  private:
    AlignedArray<std::byte> memory_;
    unsigned sum_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: bench_limit SNAPSHOT QUERIES [rounds | once] [ef_search]\n");
        return 2;
    }
    const bool once = argc > 3 && std::string(argv[3]) == "once";
    const int rounds = once ? 1 : argc > 3 ? std::atoi(argv[3]) : 7;
    const std::vector<std::size_t> widths = numbers(argc > 4 ? argv[4] : "16,32,48,64");
    const std::unique_ptr<index::Index> index =
        index::Index::load(argv[1], nullptr, index::Mapping::none);
    const std::vector<float> queries = read_queries(argv[2], index->dim());
    const std::size_t count = queries.size() / index->dim();
    const index::Stats stats = index->stats();
    const auto row_bytes = [&](std::size_t bytes) {
        return bytes / std::max<std::size_t>(stats.capacity, 1);
    };
    const std::size_t bottom = row_bytes(stats.memory.bottom_layer);
    const std::size_t refined = row_bytes(stats.memory.refined_codes);
    const std::size_t vector = row_bytes(stats.memory.vectors);
    const std::size_t blocks = (index->params().max_neighbors + index::kBlock - 1) / index::kBlock;
    const std::size_t places = blocks * index::kBlock;
    if (count == 0 || stats.code_groups == 0) {
        std::fprintf(stderr, "no queries, or no codes in the rows\n");
        return 2;
    }
    std::printf(
        "%zu vectors of %zu dimensions, %zu queries; rows: %zu bytes of links and codes, "
        "%zu of four bits, %zu of vectors\n",
        index->size(), index->dim(), count, bottom, refined, vector);
    RandomRows memory;
    double bottom_us = 0.0, refined_us = 0.0, vector_us = 0.0;
    if (!once) {
        bottom_us = memory.microseconds(bottom);
        refined_us = refined == 0 ? 0.0 : memory.microseconds(refined);
        vector_us = memory.microseconds(vector);
        std::printf("a random row of each: %.0f, %.0f, %.0f ns\n", 1e3 * bottom_us,
                    1e3 * refined_us, 1e3 * vector_us);
    }
    std::printf("%9s %8s %8s %9s %8s %8s %10s %6s\n", "ef_search", "us", "rows", "four-bit",
                "vectors", "KiB", "memory us", "share");
    std::vector<index::Label> labels(kK);
    std::vector<float> scores(kK);
    for (const std::size_t ef : widths) {
        index::SearchOptions options;
        options.k = kK;
        options.ef = ef;
        std::size_t found = 0;
        std::vector<double> least(count, 1e300);
        for (int round = 0; round < rounds; ++round) {
            for (std::size_t i = 0; i < count; ++i) {
                const double begin = now_us();
                index->search(&queries[i * index->dim()], 1, options, labels.data(), scores.data(),
                              &found);
                least[i] = std::min(least[i], now_us() - begin);
            }
        }
        double us = 0.0;
        for (const double one : least) us += one / static_cast<double>(count);
        if (once) {
            std::printf("%9zu %8.1f\n", ef, us);
            continue;
        }
        index::Watch watch;
        options.watch = &watch;
        for (std::size_t i = 0; i < count; ++i) {
            index->search(&queries[i * index->dim()], 1, options, labels.data(), scores.data(),
                          &found);
        }
        const index::Counters counters = watch.counters();
        const auto each = [&](std::uint64_t n) {
            return static_cast<double>(n) / static_cast<double>(count);
        };
        const double rows = each(counters.visited), vectors = each(counters.reranked);
        // Those estimated otherwise: of each row, and of the 288 nodes where a walk may start.
        const double of_rows = static_cast<double>(places) * rows + kStarts;
        const double four_bit =
            refined == 0 ? 0.0 : std::max(0.0, each(counters.estimated) - of_rows);
        const double bytes = rows * static_cast<double>(bottom) +
                             four_bit * static_cast<double>(refined) +
                             vectors * static_cast<double>(vector);
        const double limit = rows * bottom_us + four_bit * refined_us + vectors * vector_us;
        std::printf("%9zu %8.1f %8.1f %9.1f %8.1f %8.1f %10.1f %6.2f\n", ef, us, rows, four_bit,
                    vectors, bytes / 1024.0, limit, limit / us);
    }
    return memory.sum() == 1 ? 1 : 0;
}
