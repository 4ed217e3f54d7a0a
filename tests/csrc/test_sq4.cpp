// Keys from four-bit rows against those of the vectors.
#include "index/sq4.hpp"

#include <cmath>
#include <vector>

#include "check.hpp"
#include "forced_level.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

struct Rounded {
    Rounded(std::size_t dim, Metric metric, const std::vector<float>& vectors) : rows(dim, metric) {
        rows.resize(vectors.size() / dim);
        for (Slot slot = 0; slot < vectors.size() / dim; ++slot) {
            rows.set(slot, &vectors[slot * dim]);
        }
    }
    struct Keys {
        std::vector<float> keys, deviations;
    };
    Keys all(const float* query, const std::vector<Slot>& slots) const {
        Sq4Query rounded;
        rows.query(walk_kernels(simd::active().level), query, rounded);
        std::vector<std::int32_t> products;
        std::vector<float> out(slots.size()), deviations(slots.size());
        rows.keys(walk_kernels(simd::active().level), rounded, slots.data(), slots.size(), products,
                  out.data());
        rows.deviations(rounded, slots.data(), out.data(), slots.size(), deviations.data());
        return {out, deviations};
    }
    std::vector<float> keys(const float* query, const std::vector<Slot>& slots) const {
        return all(query, slots).keys;
    }
    Sq4 rows;
};

void normalise(std::vector<float>& vectors, std::size_t dim) {
    for (std::size_t i = 0; i < vectors.size(); i += dim) {
        float norm2 = 0.0f;
        for (std::size_t j = 0; j < dim; ++j) norm2 += vectors[i + j] * vectors[i + j];
        for (std::size_t j = 0; j < dim; ++j) vectors[i + j] /= std::sqrt(norm2);
    }
}

void keys_are_near_those_of_the_vectors() {
    for (const Metric metric : {Metric::ip, Metric::cosine, Metric::l2}) {
        for (const std::size_t dim : {1u, 7u, 64u, 65u, 128u, 384u, 1000u}) {
            std::vector<float> vectors = make_vectors(50, dim, 1);
            std::vector<float> query = make_vectors(1, dim, 2);
            if (metric == Metric::cosine) {
                normalise(vectors, dim);
                normalise(query, dim);
            }
            const Rounded rounded(dim, metric, vectors);
            const std::vector<Slot> slots{4, 0, 49, 17, 30};
            const Rounded::Keys found = rounded.all(query.data(), slots);
            for (std::size_t i = 0; i < slots.size(); ++i) {
                double expected = 0, scale = 0;
                for (std::size_t j = 0; j < dim; ++j) {
                    const double a = query[j], b = vectors[slots[i] * dim + j];
                    expected += metric == Metric::l2 ? b * b - 2 * a * b : -a * b;
                    scale += a * a;
                }
                // Some for the query, whose own steps are a tenth of a row's.
                const double own = 0.02 * std::sqrt(scale) * (metric == Metric::l2 ? 2 : 1);
                CHECK(std::fabs(found.keys[i] - expected) < 5 * found.deviations[i] + own);
            }
        }
    }
}

void a_vector_is_told_from_its_neighbours_however_far_from_zero() {
    // All lie within 1 of (100, 100, ...): a step is as wide as they are apart.
    constexpr std::size_t kDim = 64;
    std::vector<float> vectors = make_vectors(40, kDim, 5);
    for (float& x : vectors) x += 100.0f;
    const Rounded rounded(kDim, Metric::l2, vectors);
    std::vector<Slot> slots(40);
    for (Slot i = 0; i < 40; ++i) slots[i] = i;
    const Rounded::Keys found = rounded.all(vectors.data(), slots);
    for (const float deviation : found.deviations) CHECK(deviation < 10.0f);
}

// Patches of a picture are such: nearly smooth, and a part of the components, a colour, as bright
// or dark as a whole.
void errors_are_as_large_as_said_for_vectors_that_are_regular() {
    constexpr std::size_t kDim = 192, kCount = 200, kColours = 3;
    for (const Metric metric : {Metric::l2, Metric::cosine}) {
        SplitMix64 random(7);
        std::vector<float> vectors(kCount * kDim);
        for (std::size_t i = 0; i < kCount; ++i) {
            double light[kColours] = {200.0, 120.0, 60.0};
            for (double& of_colour : light) of_colour += 20.0 * random.unit();
            for (std::size_t j = 0; j < kDim; ++j) {
                vectors[i * kDim + j] =
                    static_cast<float>(light[j * kColours / kDim] + random.unit());
            }
        }
        if (metric == Metric::cosine) normalise(vectors, kDim);
        const Rounded rounded(kDim, metric, vectors);
        std::vector<Slot> slots(kCount);
        for (Slot i = 0; i < kCount; ++i) slots[i] = i;
        double told = 0, true2 = 0;
        for (Slot q = 0; q < 20; ++q) {
            const Rounded::Keys found = rounded.all(&vectors[q * kDim], slots);
            std::vector<double> errors(kCount);
            double mean = 0;
            for (std::size_t i = 0; i < kCount; ++i) {
                double key = 0;
                for (std::size_t j = 0; j < kDim; ++j) {
                    const double a = vectors[q * kDim + j], b = vectors[i * kDim + j];
                    key += metric == Metric::l2 ? b * b - 2 * a * b : -a * b;
                }
                errors[i] = found.keys[i] - key;
                mean += errors[i] / kCount;
                told += double{found.deviations[i]} * found.deviations[i];
            }
            // What all keys of a query are off by makes no difference.
            for (const double error : errors) true2 += (error - mean) * (error - mean);
        }
        CHECK(true2 < 1.5 * told && told < 4.0 * true2);
    }
}

void deviations_grow_with_a_query_as_its_keys_do() {
    constexpr std::size_t kDim = 96;
    const Rounded rounded(kDim, Metric::ip, make_vectors(20, kDim, 1));
    std::vector<float> query = make_vectors(1, kDim, 2);
    const Rounded::Keys usual = rounded.all(query.data(), {3, 9});
    for (float& x : query) x *= 1000.0f;
    const Rounded::Keys longer = rounded.all(query.data(), {3, 9});
    for (std::size_t i = 0; i < 2; ++i) {
        const float times = longer.deviations[i] / usual.deviations[i];
        CHECK(times > 990.0f && times < 1010.0f);
    }
}

void equal_components_are_off_by_the_query_alone() {
    const Rounded rounded(10, Metric::ip, std::vector<float>(10, 0.75f));
    const std::vector<float> query(10, 2.0f);
    const Rounded::Keys found = rounded.all(query.data(), {0});
    CHECK(found.deviations[0] < 0.01f * 15.0f);
    CHECK(std::fabs(found.keys[0] + 15.0f) < 5.0f * found.deviations[0]);
}

void rows_follow_their_slots_and_can_be_wiped() {
    const std::vector<float> vectors = make_vectors(6, 20, 1);
    Rounded rounded(20, Metric::l2, vectors);
    const float* query = vectors.data();
    const std::vector<float> before = rounded.keys(query, {3, 5});
    rounded.rows.restore(rounded.rows.renumbered({kNoSlot, kNoSlot, kNoSlot, 1, kNoSlot, 0}, 2));
    CHECK(rounded.keys(query, {1, 0}) == before);
    rounded.rows.wipe(1);
    CHECK(rounded.keys(query, {1})[0] == 0.0f);
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    keys_are_near_those_of_the_vectors();
    a_vector_is_told_from_its_neighbours_however_far_from_zero();
    errors_are_as_large_as_said_for_vectors_that_are_regular();
    deviations_grow_with_a_query_as_its_keys_do();
    equal_components_are_off_by_the_query_alone();
    rows_follow_their_slots_and_can_be_wiped();
    return check_result();
}
