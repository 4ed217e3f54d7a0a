// Estimates from codes against the vectors they came from, and codes in rows.
#include "index/codes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
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
    Coded(Metric metric, std::size_t dimension, std::vector<float> data)
        : dim(dimension), codes(dimension, metric, 32), vectors(std::move(data)) {
        const std::size_t count = vectors.size() / dim;
        codes.train(vectors);
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
        starts.resize(row_bytes);
        const WalkQuery tables = codes.query(query, scratch);
        std::vector<float> keys(count);
        for (Slot slot = 0; slot < count; ++slot) {
            codes.pack(starts.data(), codes.layout(), std::span(&slot, 1));
            WalkPool pool;
            pool.reset(1, 1);
            codes.kernels().walk({starts.data(), row_bytes, codes.layout()}, 1,
                                 {rows.data(), row_bytes, codes.layout()}, tables, pool);
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

// Vectors that vary less and less from one hidden direction to the next, as embeddings do.
std::vector<float> decaying(std::size_t count, std::size_t dim, std::uint64_t seed) {
    SplitMix64 directions(1), random(seed);
    std::vector<float> mixing(dim * dim), vectors(count * dim), hidden(dim);
    for (float& x : mixing) x = static_cast<float>(directions.unit() - 0.5);
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j < dim; ++j) {
            const double share = std::exp(-8.0 * static_cast<double>(j) / static_cast<double>(dim));
            hidden[j] = static_cast<float>((random.unit() + random.unit() - 1.0) * share);
        }
        for (std::size_t j = 0; j < dim; ++j) {
            for (std::size_t k = 0; k < dim; ++k) {
                vectors[i * dim + j] += hidden[k] * mixing[j * dim + k];
            }
        }
    }
    return vectors;
}

std::vector<float> uniform(std::size_t count, std::size_t dim) {
    SplitMix64 random(5);
    std::vector<float> vectors(count * dim);
    for (float& x : vectors) x = static_cast<float>(random.unit() - 0.5);
    return vectors;
}

double correlation(const std::vector<double>& a, const std::vector<float>& b) {
    double mean_a = 0, mean_b = 0, aa = 0, ab = 0, bb = 0;
    const double n = static_cast<double>(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        mean_a += a[i] / n;
        mean_b += b[i] / n;
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        ab += (a[i] - mean_a) * (b[i] - mean_b);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
    }
    return ab / std::sqrt(aa * bb);
}

void estimates_order_vectors_nearly_as_keys_do() {
    constexpr std::size_t kRows = 2000, kQueries = 10;
    for (const Metric metric : kMetrics) {
        for (const std::size_t dim : {2u, 3u, 16u, 100u, 256u}) {
            Coded coded(metric, dim, decaying(kRows, dim, 1));
            const std::vector<float> queries = decaying(kQueries, dim, 2);
            for (std::size_t q = 0; q < kQueries; ++q) {
                const float* query = &queries[q * dim];
                std::vector<double> keys(kRows);
                for (std::size_t i = 0; i < kRows; ++i) {
                    for (std::size_t j = 0; j < dim; ++j) {
                        const double a = query[j], b = coded.vectors[i * dim + j];
                        keys[i] += metric == Metric::l2 ? (a - b) * (a - b) : -a * b;
                    }
                }
                CHECK(correlation(keys, coded.estimates(query)) > 0.85);
            }
        }
    }
}

// Of patches of a picture: most of what sets them apart is how bright they are, and most are
// smooth, so that they lie much more closely together than those with contrasts.
std::vector<float> patches(std::size_t count, std::size_t dim, std::uint64_t seed) {
    std::vector<float> vectors = decaying(count, dim, seed);
    SplitMix64 random(seed + 1);
    for (std::size_t i = 0; i < count; ++i) {
        const double contrast = std::exp(-5.0 * random.unit()), light = 200.0 * random.unit();
        for (std::size_t j = 0; j < dim; ++j) {
            float& x = vectors[i * dim + j];
            x = static_cast<float>(light + 100.0 * contrast * x);
        }
    }
    return vectors;
}

void vectors_that_lie_much_more_closely_than_others_are_told_apart() {
    constexpr std::size_t kDim = 128, kRows = 4000, kQueries = 50, kNear = 10;
    Coded coded(Metric::l2, kDim, patches(kRows, kDim, 1));
    CHECK(coded.codes.codebook().leading() > 0);
    CHECK(coded.codes.codebook().leading() <= kMaxLeading);
    const std::vector<float> queries = patches(kQueries, kDim, 5);
    std::size_t hits = 0;
    double worst = 0;
    for (std::size_t q = 0; q < kQueries; ++q) {
        const float* query = &queries[q * kDim];
        std::vector<float> keys(kRows);
        for (std::size_t i = 0; i < kRows; ++i) {
            double sum = 0;
            for (std::size_t j = 0; j < kDim; ++j) {
                const double rest = double{query[j]} - coded.vectors[i * kDim + j];
                sum += rest * rest;
            }
            keys[i] = static_cast<float>(sum);
        }
        const std::vector<float> estimates = coded.estimates(query);
        const auto nearest = [&](const std::vector<float>& values, std::size_t most) {
            std::vector<Slot> slots(kRows);
            for (Slot i = 0; i < kRows; ++i) slots[i] = i;
            std::partial_sort(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(most),
                              slots.end(), [&](Slot a, Slot b) { return values[a] < values[b]; });
            slots.resize(most);
            return slots;
        };
        const std::vector<Slot> found = nearest(estimates, 2 * kNear);
        for (const Slot slot : nearest(keys, kNear)) {
            hits += std::find(found.begin(), found.end(), slot) != found.end();
            worst = std::max(worst, std::fabs(double{estimates[slot]} / keys[slot] - 1.0));
        }
    }
    CHECK(hits > kQueries * kNear * 9 / 10);
    CHECK(worst < 0.7);
}

void a_vector_is_estimated_to_be_where_it_is() {
    for (const std::size_t dim : {64u, 128u}) {
        Coded coded(Metric::l2, dim, patches(500, dim, 1));
        for (std::size_t i = 0; i < 50; ++i) {
            const std::vector<float> keys = coded.estimates(&coded.vectors[i * dim]);
            double least = 1e30;
            for (std::size_t j = 0; j < keys.size(); ++j) {
                double sum = 0;
                for (std::size_t d = 0; d < dim; ++d) {
                    const double rest =
                        double{coded.vectors[i * dim + d]} - coded.vectors[j * dim + d];
                    sum += rest * rest;
                }
                if (j != i) least = std::min(least, sum);
            }
            CHECK(std::fabs(keys[i]) < 0.1 * least);
        }
    }
}

// What came after codes were learnt isn't taken for near, however far out it lies.
void vectors_beyond_what_was_learnt_from_are_far() {
    for (const std::size_t dim : {64u, 128u}) {
        const std::vector<float> learnt = patches(500, dim, 1);
        Codes codes(dim, Metric::l2, 32);
        codes.train(learnt);
        const std::vector<float> usual = patches(20, dim, 5);
        for (const float further : {3.0f, 30.0f, 3e6f}) {
            std::vector<float> vectors = patches(20, dim, 9);
            for (float& x : vectors) x *= further;
            CodeScratch scratch;
            codes.resize(20);
            for (Slot slot = 0; slot < 20; ++slot) codes.set(slot, &vectors[slot * dim], scratch);
            const RowLayout layout = codes.layout().one_block();
            std::vector<Slot> slots(20);
            for (Slot i = 0; i < 20; ++i) slots[i] = i;
            std::vector<std::byte> row(layout.bytes());
            codes.pack(row.data(), layout, slots);
            for (std::size_t q = 0; q < 20; ++q) {
                WalkPool pool;
                pool.reset(20, 0);
                const WalkQuery query = codes.query(&usual[q * dim], scratch);
                codes.kernels().scan({row.data(), layout.bytes(), layout}, 1, query, pool);
                for (std::size_t i = 0; i < pool.size; ++i) {
                    double distance2 = 0, norm2 = 0;
                    for (std::size_t j = 0; j < dim; ++j) {
                        const double x = vectors[pool.slots()[i] * dim + j];
                        distance2 += (usual[q * dim + j] - x) * (usual[q * dim + j] - x);
                        norm2 += x * x;
                    }
                    const double estimate = as_float(pool.keys()[i] & ~WalkPool::kFlags);
                    CHECK(estimate > 0.25 * distance2 - 0.05 * norm2);
                }
            }
        }
    }
}

// One axis is a hundred times as wide as the others, which tell vectors apart.
void narrow_leading_axes_keep_their_weight() {
    constexpr std::size_t kDim = 6, kRows = 1000;
    SplitMix64 random(3);
    std::vector<float> vectors(kRows * kDim);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
        vectors[i] = static_cast<float>((i % kDim == 0 ? 100.0 : 1.0) * (random.unit() - 0.5));
    }
    Coded coded(Metric::l2, kDim, vectors);
    CHECK(coded.codes.codebook().leading() > 0);
    for (std::size_t q = 0; q < 20; ++q) {
        std::vector<float> query(&vectors[q * kDim], &vectors[q * kDim] + kDim);
        for (std::size_t j = 1; j < kDim; ++j) query[j] = -query[j];
        double own = 0;
        for (std::size_t j = 1; j < kDim; ++j) own += 4.0 * query[j] * query[j];
        CHECK(std::fabs(coded.estimates(query.data())[q] - own) < 0.3 * own + 0.05);
    }
}

void codes_are_longer_where_vectors_vary_in_more_directions() {
    const Coded few(Metric::ip, 64, decaying(500, 64, 1));
    const Coded many(Metric::ip, 64, uniform(500, 64));
    CHECK(few.codes.codebook().groups() < many.codes.codebook().groups());
    for (const Coded* coded : {&few, &many}) {
        CHECK(coded->codes.codebook().groups() % kGroupsStep == 0);
        CHECK(coded->codes.codebook().groups() <= kMaxGroups);
    }
}

void vectors_that_are_all_alike_or_few_have_codes() {
    for (const Metric metric : kMetrics) {
        for (const std::size_t count : {1u, 5u, 40u}) {
            Coded coded(metric, 70, std::vector<float>(count * 70, 0.5f));
            const std::vector<float> keys = coded.estimates(&coded.vectors[0]);
            for (const float key : keys) CHECK(key == keys[0] && std::isfinite(key));
        }
    }
}

void more_dimensions_than_one_covariance_takes_are_coded() {
    constexpr std::size_t kDim = 2500;
    Coded coded(Metric::l2, kDim, make_vectors(200, kDim, 3));
    std::vector<double> keys(200);
    for (std::size_t i = 0; i < 200; ++i) {
        for (std::size_t j = 0; j < kDim; ++j) {
            const double rest = double{coded.vectors[j]} - coded.vectors[i * kDim + j];
            keys[i] += rest * rest;
        }
    }
    CHECK(correlation(keys, coded.estimates(&coded.vectors[0])) > 0.95);
}

void packing_leaves_nothing_of_what_was_there() {
    Coded coded(Metric::ip, 100, make_vectors(40, 100, 1));
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
    Coded coded(Metric::l2, 33, make_vectors(40, 33, 1));
    const std::size_t row_bytes = coded.codes.layout().bytes();
    std::vector<std::byte> before(row_bytes), after(row_bytes);
    const Slot old = 30, now = 4;
    coded.codes.pack(before.data(), coded.codes.layout(), std::span(&old, 1));
    std::vector<Slot> moved(40, kNoSlot);
    for (Slot slot = 26; slot < 40; ++slot) moved[slot] = slot - 26;
    coded.codes.restore(coded.codes.renumbered(moved, 14));
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
    estimates_order_vectors_nearly_as_keys_do();
    vectors_that_lie_much_more_closely_than_others_are_told_apart();
    a_vector_is_estimated_to_be_where_it_is();
    vectors_beyond_what_was_learnt_from_are_far();
    narrow_leading_axes_keep_their_weight();
    codes_are_longer_where_vectors_vary_in_more_directions();
    vectors_that_are_all_alike_or_few_have_codes();
    more_dimensions_than_one_covariance_takes_are_coded();
    packing_leaves_nothing_of_what_was_there();
    codes_follow_their_slots();
    return check_result();
}
