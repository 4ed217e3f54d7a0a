// Rows of each type against the vectors they came from, in double precision. Error allowed: half a
// step of the type at the largest component, times what a sum over unit-length vectors makes of it.
#include "index/quantiser.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "base/aligned.hpp"
#include "base/random.hpp"
#include "check.hpp"
#include "forced_level.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;
using simd::ElementType;

namespace {

constexpr ElementType kTypes[] = {ElementType::f32, ElementType::f16, ElementType::i8,
                                  ElementType::bf16};
constexpr Metric kMetrics[] = {Metric::ip, Metric::cosine, Metric::l2, Metric::l1};

std::optional<ErrorCode> refusal(const Quantiser& quantiser, const std::vector<float>& vector) {
    try {
        quantiser.check(vector.data(), 0);
        return std::nullopt;
    } catch (const Error& error) {
        return error.code();
    }
}

double length(const float* x, std::size_t dim) {
    double sum = 0;
    for (std::size_t i = 0; i < dim; ++i) sum += double{x[i]} * x[i];
    return std::sqrt(sum);
}

// What a search orders by, from the vectors themselves.
double exact_key(Metric metric, const float* a, const float* b, std::size_t dim) {
    double dot = 0, squares = 0, differences = 0;
    for (std::size_t i = 0; i < dim; ++i) {
        dot += double{a[i]} * b[i];
        squares += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        differences += std::fabs(double{a[i]} - b[i]);
    }
    if (metric == Metric::l1) return differences;
    if (metric == Metric::l2) return squares;
    return metric == Metric::ip ? -dot : -dot / (length(a, dim) * length(b, dim));
}

void keys_are_those_of_the_vectors() {
    constexpr std::size_t kRows = 41;
    for (const Metric metric : kMetrics) {
        for (const ElementType type : kTypes) {
            for (const std::size_t dim : {1u, 2u, 3u, 7u, 16u, 33u, 100u, 384u}) {
                const Quantiser quantiser(dim, metric, type);
                const std::vector<float> vectors = make_vectors(kRows, dim, 1);
                AlignedArray<std::byte> rows;
                rows.resize(kRows * quantiser.row_bytes());
                for (std::size_t i = 0; i < kRows; ++i) {
                    std::byte* row = rows.data() + i * quantiser.row_bytes();
                    quantiser.encode(&vectors[i * dim], row);
                    CHECK(quantiser.sound(row));
                }
                std::vector<std::byte> scratch;
                float keys[kRows];
                quantiser.keys(quantiser.query(vectors.data(), scratch), rows.data(), nullptr,
                               kRows, keys);
                const double step = type == ElementType::f32    ? 1e-6
                                    : type == ElementType::f16  ? 1e-3
                                    : type == ElementType::bf16 ? 8e-3
                                                                : 1.6e-2;
                for (std::size_t i = 0; i < kRows; ++i) {
                    const double scale =
                        metric == Metric::cosine ? 1.0
                        : metric == Metric::l1
                            ? static_cast<double>(dim)
                            : length(vectors.data(), dim) *
                                  (length(&vectors[i * dim], dim) + length(vectors.data(), dim));
                    const double exact = exact_key(metric, vectors.data(), &vectors[i * dim], dim);
                    CHECK(std::fabs(keys[i] - exact) <= step * scale + 1e-6);
                }
            }
        }
    }
}

// Rows of different scales, where a difference of codes says nothing of that of the vectors.
void l1_of_byte_vectors_of_any_scale_is_that_of_the_vectors() {
    constexpr std::size_t kDim = 37;
    const Quantiser quantiser(kDim, Metric::l1, ElementType::i8);
    const std::vector<float> query = make_vectors(1, kDim, 5);
    std::vector<std::byte> scratch, row(quantiser.row_bytes());
    for (const float factor : {0.01f, 0.5f, 1.0f, 3.0f, 1000.0f}) {
        std::vector<float> vector(kDim), held(kDim), asked(kDim);
        for (std::size_t i = 0; i < kDim; ++i) vector[i] = factor * query[kDim - 1 - i];
        quantiser.encode(query.data(), row.data());
        quantiser.decode(row.data(), asked.data());
        quantiser.encode(vector.data(), row.data());
        quantiser.decode(row.data(), held.data());
        const double exact = exact_key(Metric::l1, asked.data(), held.data(), kDim);
        float key;
        quantiser.keys(quantiser.query(query.data(), scratch), row.data(), nullptr, 1, &key);
        CHECK(std::fabs(key - exact) <= 1e-5 * exact);
    }
}

// Squared lengths here are far beyond 2^24, where float32 holds not every whole number.
void small_distances_of_long_byte_vectors_are_exact() {
    constexpr std::size_t kLong = 4096;
    const Quantiser quantiser(kLong, Metric::l2, ElementType::i8);
    std::vector<float> vector(kLong, 127.0f);
    std::vector<std::byte> scratch, row(quantiser.row_bytes());
    const std::vector<float> query = vector;
    for (int off = 0; off < 20; ++off) {
        vector[static_cast<std::size_t>(off) / 3] -= 1.0f;
        double expected = 0;
        for (std::size_t i = 0; i < kLong; ++i) {
            expected += (double{query[i]} - vector[i]) * (double{query[i]} - vector[i]);
        }
        quantiser.encode(vector.data(), row.data());
        float key;
        quantiser.keys(quantiser.query(query.data(), scratch), row.data(), nullptr, 1, &key);
        CHECK(key == static_cast<float>(expected));
    }
}

void a_row_queries_as_its_vector_does() {
    for (const Metric metric : kMetrics) {
        for (const ElementType type : kTypes) {
            const Quantiser quantiser(24, metric, type);
            const std::vector<float> vectors = make_vectors(2, 24, 3);
            std::vector<std::byte> rows(2 * quantiser.row_bytes());
            quantiser.encode(vectors.data(), rows.data());
            quantiser.encode(vectors.data() + 24, rows.data() + quantiser.row_bytes());
            std::vector<float> held(24);
            quantiser.decode(rows.data(), held.data());
            std::vector<std::byte> a, b;
            float by_row[2], by_vector[2];
            quantiser.keys(quantiser.query_of_row(rows.data(), a), rows.data(), nullptr, 2, by_row);
            quantiser.keys(quantiser.query(held.data(), b), rows.data(), nullptr, 2, by_vector);
            for (int i = 0; i < 2; ++i) CHECK(std::fabs(by_row[i] - by_vector[i]) < 2e-3f);
        }
    }
}

void what_has_no_place_is_refused() {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    constexpr float kInf = std::numeric_limits<float>::infinity();
    for (const ElementType type : kTypes) {
        for (const Metric metric : kMetrics) {
            const Quantiser quantiser(3, metric, type);
            for (const float bad : {kNan, -kNan, kInf, -kInf}) {
                CHECK(refusal(quantiser, {1, bad, 1}) == ErrorCode::non_finite_vector);
                CHECK(refusal(quantiser, {1, 1, bad}) == ErrorCode::non_finite_vector);
            }
            const bool cosine = metric == Metric::cosine;
            CHECK(refusal(quantiser, {0, -0.0f, 0}) ==
                  (cosine ? std::optional(ErrorCode::zero_vector) : std::nullopt));
            CHECK(refusal(quantiser, {3e38f, 3e38f, 3e38f}) ==
                  (cosine ? std::nullopt : std::optional(ErrorCode::non_finite_vector)));
            CHECK(!refusal(quantiser, {6e4f, -6e4f, 1e-45f}));
        }
    }
    const Quantiser half(2, Metric::ip, ElementType::f16);
    CHECK(!refusal(half, {65504.0f, 0}));
    CHECK(refusal(half, {-65505.0f, 0}) == ErrorCode::non_finite_vector);
}

void the_largest_accepted_have_finite_keys() {
    for (const std::size_t dim : {1u, 384u, 16384u}) {
        for (const ElementType type : {ElementType::f32, ElementType::i8, ElementType::bf16}) {
            for (const Metric metric : {Metric::ip, Metric::l2, Metric::l1}) {
                const Quantiser quantiser(dim, metric, type);
                float value = 1e19f;
                while (refusal(quantiser, std::vector<float>(dim, value))) value *= 0.99f;
                std::vector<float> a(dim, value), b(dim, -value);
                std::vector<std::byte> rows(2 * quantiser.row_bytes()), scratch;
                quantiser.encode(a.data(), rows.data());
                quantiser.encode(b.data(), rows.data() + quantiser.row_bytes());
                float keys[2];
                quantiser.keys(quantiser.query(a.data(), scratch), rows.data(), nullptr, 2, keys);
                CHECK(std::isfinite(keys[0]) && std::isfinite(keys[1]));
                CHECK(quantiser.sound(rows.data()));
                CHECK(keys[0] < keys[1]);
            }
        }
    }
}

void binary_vectors_are_held_bit_by_bit() {
    for (const std::size_t dim : {1u, 8u, 13u, 64u, 1000u, 16384u}) {
        const Quantiser quantiser(dim, Metric::hamming, ElementType::binary);
        CHECK(quantiser.vector_bytes() == (dim + 7) / 8);
        SplitMix64 random(dim);
        std::vector<std::uint8_t> a(quantiser.vector_bytes()), b(a), back(a);
        unsigned differing = 0;
        for (std::size_t i = 0; i < dim; ++i) {
            const auto drawn = random();
            const auto bit = static_cast<std::uint8_t>(0x80u >> (i % 8));
            if ((drawn & 1u) != 0) a[i / 8] |= bit;
            if ((drawn & 2u) != 0) b[i / 8] |= bit;
            differing += (drawn ^ (drawn >> 1)) & 1u;
        }
        std::vector<std::byte> row(quantiser.row_bytes()), scratch;
        quantiser.check(a.data(), 0);
        quantiser.encode(a.data(), row.data());
        CHECK(quantiser.sound(row.data()));
        quantiser.decode(row.data(), back.data());
        CHECK(back == a);
        float by_vector, by_row;
        quantiser.keys(quantiser.query(b.data(), scratch), row.data(), nullptr, 1, &by_vector);
        quantiser.keys(quantiser.query_of_row(row.data(), scratch), row.data(), nullptr, 1,
                       &by_row);
        CHECK(by_vector == static_cast<float>(differing) && by_row == 0.0f);
    }
}

void spare_bits_that_are_set_are_refused() {
    const Quantiser quantiser(13, Metric::hamming, ElementType::binary);
    std::vector<std::byte> row(quantiser.row_bytes());
    for (int bit = 0; bit < 16; ++bit) {
        std::uint8_t vector[2] = {};
        vector[bit / 8] = static_cast<std::uint8_t>(0x80u >> (bit % 8));
        std::optional<ErrorCode> code;
        try {
            quantiser.check(vector, 0);
        } catch (const Error& error) {
            code = error.code();
        }
        CHECK(code == (bit < 13 ? std::nullopt : std::optional(ErrorCode::input)));
        quantiser.encode(vector, row.data());
        CHECK(quantiser.sound(row.data()) == (bit < 13));
    }
}

void unsound_rows_are_told_from_sound_ones() {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    for (const float bad : {kNan, 1e30f, -kNan, std::numeric_limits<float>::infinity()}) {
        const Quantiser floats(4, Metric::ip, ElementType::f32);
        const float row[4] = {0, 1, bad, 0};
        CHECK(!floats.sound(reinterpret_cast<const std::byte*>(row)));

        const Quantiser bytes(4, Metric::l2, ElementType::i8);
        std::vector<std::byte> codes(bytes.row_bytes());
        const float vector[4] = {1, 2, 3, 4.5f};
        for (const std::size_t at : {4u, 8u}) {  // the scale, the squared norm
            bytes.encode(vector, codes.data());
            CHECK(bytes.sound(codes.data()));
            std::memcpy(codes.data() + at, &bad, sizeof(bad));
            CHECK(!bytes.sound(codes.data()) || (at == 8 && bad == 1e30f));
        }
    }
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    keys_are_those_of_the_vectors();
    l1_of_byte_vectors_of_any_scale_is_that_of_the_vectors();
    small_distances_of_long_byte_vectors_are_exact();
    a_row_queries_as_its_vector_does();
    what_has_no_place_is_refused();
    the_largest_accepted_have_finite_keys();
    binary_vectors_are_held_bit_by_bit();
    spare_bits_that_are_set_are_refused();
    unsound_rows_are_told_from_sound_ones();
    return check_result();
}
