// Estimates from codes against the vectors they came from: right on average, and no further off
// than a one-bit code of that dimension may be.
#include "index/codes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.hpp"
#include "forced_level.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr Metric kMetrics[] = {Metric::ip, Metric::cosine, Metric::l2};

float as_float(std::int32_t key) {
    const std::int32_t bits = key ^ ((key >> 31) & INT32_MAX);
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

struct Coded {
    Coded(Metric metric, std::size_t dimension, std::size_t count)
        : dim(dimension), codes(dimension, metric, 32), vectors(make_vectors(count, dimension, 1)) {
        std::vector<float> centroid(dim);
        for (std::size_t i = 0; i < count * dim; ++i) {
            centroid[i % dim] += vectors[i] / static_cast<float>(count);
        }
        codes.set_centroid(centroid);
        codes.resize(count);
        for (Slot slot = 0; slot < count; ++slot) {
            codes.set(slot, &vectors[slot * dim], scratch);
        }
    }

    // Estimated keys of all, by a walk over rows that lead nowhere.
    std::vector<float> estimates(const float* query) {
        const std::size_t count = vectors.size() / dim, row_bytes = codes.layout().bytes();
        AlignedArray<std::byte> starts, rows;
        rows.resize(count * row_bytes);
        std::memset(rows.data(), 0xff, rows.size());
        std::vector<float> keys(count);
        for (Slot slot = 0; slot < count; ++slot) {
            starts.resize(row_bytes);
            codes.pack(starts.data(), codes.layout(), std::span(&slot, 1));
            WalkPool pool;
            pool.reset(1);
            codes.kernels().walk({starts.data(), row_bytes, codes.layout()}, 1,
                                 {rows.data(), row_bytes, codes.layout()},
                                 codes.query(query, scratch), pool);
            CHECK(pool.size == 1 && pool.slots()[0] == slot);
            keys[slot] = as_float(pool.keys()[0] & ~WalkPool::kFlags);
        }
        return keys;
    }

    std::size_t dim;
    Codes codes;
    std::vector<float> vectors;
    CodeScratch scratch;
};

void estimates_are_near_the_keys() {
    constexpr std::size_t kRows = 200, kQueries = 20;
    for (const Metric metric : kMetrics) {
        for (const std::size_t dim : {1u, 3u, 64u, 100u, 384u, 1536u}) {
            Coded coded(metric, dim, kRows);
            double squares = 0, scale = 0;
            for (std::size_t q = 0; q < kQueries; ++q) {
                // Any constant for a query leaves the order as it is.
                const float* query = &coded.vectors[q * dim];
                const std::vector<float> keys = coded.estimates(query);
                double query2 = 0;
                std::vector<double> errors(kRows);
                double mean = 0;
                for (std::size_t i = 0; i < kRows; ++i) {
                    double key = 0;
                    for (std::size_t j = 0; j < dim; ++j) {
                        const double a = query[j], b = coded.vectors[i * dim + j];
                        key += metric == Metric::l2 ? (a - b) * (a - b) : -a * b;
                    }
                    errors[i] = keys[i] - key;
                    mean += errors[i] / kRows;
                }
                for (std::size_t j = 0; j < dim; ++j) query2 += double{query[j]} * query[j];
                for (const double error : errors) squares += (error - mean) * (error - mean);
                scale += query2;
            }
            // The error of <q, r> has a standard deviation near 0.76 |q| |r| / sqrt(dim), and here
            // |r| < |q|; keys of l2 hold it twice. Tables and few dimensions add their own.
            const double deviation = std::sqrt(squares / (kRows * kQueries));
            const double size = scale / kQueries;
            const double bound =
                size / std::sqrt(static_cast<double>(std::max<std::size_t>(dim, 8)));
            CHECK(deviation < (metric == Metric::l2 ? 2.0 : 1.0) * bound);
        }
    }
}

void packing_leaves_nothing_of_what_was_there() {
    Coded coded(Metric::ip, 100, 40);
    const std::size_t row_bytes = coded.codes.layout().bytes();
    std::vector<std::byte> fresh(row_bytes), used(row_bytes);
    std::vector<Slot> many(32), few{7, 9, 11};
    for (Slot i = 0; i < 32; ++i) many[i] = i;
    coded.codes.pack(used.data(), coded.codes.layout(), many);
    coded.codes.pack(used.data(), coded.codes.layout(), few);
    coded.codes.pack(fresh.data(), coded.codes.layout(), few);
    CHECK(used == fresh);
}

void codes_follow_their_slots() {
    Coded coded(Metric::l2, 33, 40);
    const std::size_t row_bytes = coded.codes.layout().bytes();
    std::vector<std::byte> before(row_bytes), after(row_bytes);
    const Slot old = 30, now = 4;
    coded.codes.pack(before.data(), coded.codes.layout(), std::span(&old, 1));
    std::vector<Slot> moved(40, kNoSlot);
    for (Slot slot = 26; slot < 40; ++slot) moved[slot] = slot - 26;
    coded.codes.renumber(moved, 14);
    coded.codes.pack(after.data(), coded.codes.layout(), std::span(&now, 1));
    std::memcpy(before.data(), &now, sizeof(now));
    CHECK(before == after);
    coded.codes.wipe(now);
    coded.codes.pack(after.data(), coded.codes.layout(), std::span(&now, 1));
    CHECK(std::count(after.begin() + 128, after.end(), std::byte{0}) ==
          static_cast<std::ptrdiff_t>(row_bytes - 128));
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    estimates_are_near_the_keys();
    packing_leaves_nothing_of_what_was_there();
    codes_follow_their_slots();
    return check_result();
}
