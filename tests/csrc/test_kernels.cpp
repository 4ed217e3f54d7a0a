// Every kernel of every level of this machine against sums in double precision.
//
// Dimensions: 1, 3, and around each vector length: 7-9, 15-17, 31-33, 64; 100, 384, 768, 1536; and
// 16,384 for the extremes of int8.
// Tolerances: none for int8 (but where scaled), and none for floats that hold small integers, where
// every sum is exact: so each element counts once. For other floats a sum may be off by (dim / 2 +
// 8) * 2^-24 of the sum of its terms' magnitudes, the bound for two or more partial sums in
// float32. Excluded: NaN and infinity in vectors, which the index refuses; float vectors whose
// squared length overflows or underflows float32.

#include "simd/kernels.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"
#include "forced_level.hpp"

namespace simd = llmspell::simd;
using Half = std::uint16_t;
using simd::BFloat16;

namespace {

constexpr std::size_t kDims[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 384, 768, 1536};
constexpr std::size_t kRows = 19;  // more than a block of cosine's, and every remainder of four

enum class Which { ip, l2, cosine, l1 };
constexpr Which kMetrics[] = {Which::ip, Which::l2, Which::cosine, Which::l1};

template <class Row>
constexpr std::size_t kType = std::is_same_v<Row, float>         ? 0
                              : std::is_same_v<Row, Half>        ? 1
                              : std::is_same_v<Row, std::int8_t> ? 2
                                                                 : 3;

template <class Row>
using QueryOf = std::conditional_t<std::is_same_v<Row, std::int8_t>, std::int8_t, float>;

template <class Row>
const simd::Metric& kernel(const simd::Kernels& kernels, Which metric) {
    const auto& table = metric == Which::ip   ? kernels.ip
                        : metric == Which::l2 ? kernels.l2
                        : metric == Which::l1 ? kernels.l1
                                              : kernels.cosine;
    return table[kType<Row>];
}

double value_of(float element) { return element; }
double value_of(std::int8_t element) { return element; }
double value_of(BFloat16 element) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(element) << 16);
}
double value_of(Half element) {
    float value;
    simd::table(simd::Level::scalar)->f16_to_f32(&element, &value, 1);
    return value;
}

struct Expected {
    double value;
    double slack;  // what float32 rounding may add or take
};

template <class Row>
Expected expected(Which metric, const QueryOf<Row>* query, const Row* row, std::size_t dim) {
    double dot = 0, magnitude = 0, squares = 0, differences = 0, query_norm2 = 0, row_norm2 = 0;
    for (std::size_t i = 0; i < dim; ++i) {
        const double q = value_of(query[i]), r = value_of(row[i]);
        dot += q * r;
        magnitude += std::fabs(q * r);
        squares += (q - r) * (q - r);
        differences += std::fabs(q - r);
        query_norm2 += q * q;
        row_norm2 += r * r;
    }
    const double bound = (static_cast<double>(dim) / 2 + 8) * 0x1.0p-24;
    if (metric == Which::ip) return {dot, bound * magnitude};
    if (metric == Which::l2) return {squares, bound * squares};
    if (metric == Which::l1) return {differences, bound * differences};
    if (query_norm2 == 0 || row_norm2 == 0) return {0, 0};
    return {dot / std::sqrt(query_norm2 * row_norm2), 2 * bound};
}

template <class T>
T rounded(float real) {
    T value;
    if constexpr (std::is_same_v<T, Half>) {
        simd::table(simd::Level::scalar)->f32_to_f16(&real, &value, 1);
    } else if constexpr (std::is_same_v<T, BFloat16>) {
        simd::table(simd::Level::scalar)->f32_to_bf16(&real, &value, 1);
    } else {
        value = static_cast<T>(real);
    }
    return value;
}

// Magnitudes between 1/2 and 3/2, so that a lost element can't hide in the tolerance.
template <class T>
std::vector<T> random_vectors(std::size_t count, std::uint64_t seed) {
    llmspell::SplitMix64 random(seed);
    std::vector<T> values(count);
    for (T& value : values) {
        const double magnitude = 0.5 + random.unit();
        const auto real = static_cast<float>((random() & 1u) != 0 ? magnitude : -magnitude);
        if constexpr (std::is_same_v<T, std::int8_t>) {
            value = static_cast<std::int8_t>(random());
        } else {
            value = rounded<T>(real);
        }
    }
    return values;
}

// Whole numbers from -8 to 8: every product and sum of them is exact in float32.
template <class T>
std::vector<T> small_integers(std::size_t count, std::uint64_t seed) {
    llmspell::SplitMix64 random(seed);
    std::vector<T> values(count);
    for (T& value : values) {
        value = rounded<T>(static_cast<float>(static_cast<int>(random() % 17) - 8));
    }
    return values;
}

template <class Row>
void check_pairs_and_batches(const simd::Kernels& kernels, const std::vector<QueryOf<Row>>& query,
                             const std::vector<Row>& rows, std::size_t dim, bool exact) {
    std::uint32_t order[kRows];
    for (std::size_t i = 0; i < kRows; ++i) {
        order[i] = static_cast<std::uint32_t>((i * 7 + 3) % (kRows - 1));  // one row twice
    }
    const std::size_t stride = dim * sizeof(Row);
    for (const Which metric : kMetrics) {
        const simd::Metric& tested = kernel<Row>(kernels, metric);
        Expected wanted[kRows];
        for (std::size_t r = 0; r < kRows; ++r) {
            wanted[r] = expected<Row>(metric, query.data(), rows.data() + r * dim, dim);
            if (exact && metric != Which::cosine) {
                wanted[r] = {static_cast<double>(static_cast<float>(wanted[r].value)), 0};
            }
        }
        const auto check = [&](float got, std::size_t row) {
            CHECK(std::fabs(got - wanted[row].value) <= wanted[row].slack);
            CHECK(metric != Which::cosine || std::fabs(got) <= 1);
        };
        for (std::size_t r = 0; r < kRows; ++r) {
            check(tested.pair(query.data(), rows.data() + r * dim, dim), r);
        }
        for (std::size_t count = 0; count <= kRows; ++count) {
            constexpr float kUntouched = -1e30f;
            std::vector<float> contiguous(kRows + 1, kUntouched), gathered(kRows + 1, kUntouched);
            tested.batch(query.data(), rows.data(), stride, nullptr, count, dim, contiguous.data());
            tested.batch(query.data(), rows.data(), stride, order, count, dim, gathered.data());
            for (std::size_t i = 0; i < count; ++i) {
                check(contiguous[i], i);
                check(gathered[i], order[i]);
            }
            CHECK(contiguous[count] == kUntouched && gathered[count] == kUntouched);
        }
    }
}

template <class Row>
void every_dimension_agrees_with_double_precision(const simd::Kernels& kernels) {
    constexpr bool kExact = std::is_same_v<Row, std::int8_t>;
    for (const std::size_t dim : kDims) {
        check_pairs_and_batches<Row>(kernels, random_vectors<QueryOf<Row>>(dim, dim),
                                     random_vectors<Row>(kRows * dim, dim + 1), dim, kExact);
        check_pairs_and_batches<Row>(kernels, small_integers<QueryOf<Row>>(dim, dim),
                                     small_integers<Row>(kRows * dim, dim + 1), dim, true);
    }
}

// Rows aligned to nothing but their element, with room between them.
template <class Row>
void alignment_and_stride_do_not_matter(const simd::Kernels& kernels) {
    constexpr std::size_t kDim = 65, kGap = 3;
    const auto query = random_vectors<QueryOf<Row>>(kDim + 16, 1);
    const auto rows = random_vectors<Row>((kDim + kGap) * 4 + 16, 2);
    for (const Which metric : kMetrics) {
        for (std::size_t offset = 0; offset < 16; ++offset) {
            float got[4];
            kernel<Row>(kernels, metric)
                .batch(query.data() + offset, rows.data() + offset, (kDim + kGap) * sizeof(Row),
                       nullptr, 4, kDim, got);
            for (std::size_t r = 0; r < 4; ++r) {
                const Expected wanted = expected<Row>(
                    metric, query.data() + offset, rows.data() + offset + r * (kDim + kGap), kDim);
                CHECK(std::fabs(got[r] - wanted.value) <= wanted.slack);
            }
        }
    }
}

// Memory whose last byte is the last that may be read: the page after it is closed.
class GuardedBytes {
  public:
    GuardedBytes() : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
        memory_ =
            ::mmap(nullptr, 3 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory_ != MAP_FAILED);
        CHECK(::mprotect(static_cast<char*>(memory_) + 2 * page_, page_, PROT_NONE) == 0);
    }
    ~GuardedBytes() { ::munmap(memory_, 3 * page_); }
    GuardedBytes(const GuardedBytes&) = delete;
    GuardedBytes& operator=(const GuardedBytes&) = delete;

    template <class T>
    T* last(const std::vector<T>& values) {
        char* at = static_cast<char*>(memory_) + 2 * page_ - values.size() * sizeof(T);
        std::memcpy(at, values.data(), values.size() * sizeof(T));
        return reinterpret_cast<T*>(at);
    }

  private:
    std::size_t page_;
    void* memory_ = nullptr;
};

template <class Row>
void nothing_beyond_a_vector_is_read(const simd::Kernels& kernels) {
    GuardedBytes query_memory, row_memory;
    for (std::size_t dim = 1; dim <= 130; ++dim) {
        const auto* query = query_memory.last(random_vectors<QueryOf<Row>>(dim, dim));
        const auto* rows = row_memory.last(random_vectors<Row>(4 * dim, dim + 1));
        for (const Which metric : kMetrics) {
            const simd::Metric& tested = kernel<Row>(kernels, metric);
            float got[4];
            tested.batch(query, rows, dim * sizeof(Row), nullptr, 4, dim, got);
            const Expected wanted = expected<Row>(metric, query, rows + 3 * dim, dim);
            CHECK(std::fabs(got[3] - wanted.value) <= wanted.slack);
            CHECK(std::fabs(tested.pair(query, rows + 3 * dim, dim) - wanted.value) <=
                  wanted.slack);
        }
    }
}

void int8_extremes_do_not_overflow(const simd::Kernels& kernels) {
    constexpr std::size_t kMostDims = 16'384;
    const std::int8_t extremes[] = {-128, -127, 0, 127};
    for (const std::int8_t q : extremes) {
        for (const std::int8_t r : extremes) {
            for (const std::size_t dim : {std::size_t{63}, kMostDims}) {
                check_pairs_and_batches<std::int8_t>(kernels, std::vector<std::int8_t>(dim, q),
                                                     std::vector<std::int8_t>(kRows * dim, r), dim,
                                                     true);
            }
        }
    }
}

void scaled_l1_is_that_of_the_scaled_row(const simd::Kernels& kernels) {
    GuardedBytes query_memory, row_memory;
    for (const std::size_t dim : kDims) {
        const auto* query = query_memory.last(random_vectors<float>(dim, dim));
        const auto* row = row_memory.last(random_vectors<std::int8_t>(dim, dim + 1));
        for (const float scale : {1.0f, 0.0173f, 3e-5f}) {
            double differences = 0, magnitude = 0;
            for (std::size_t i = 0; i < dim; ++i) {
                differences += std::fabs(double{query[i]} - double{scale} * row[i]);
                magnitude += std::fabs(double{query[i]}) + std::fabs(double{scale} * row[i]);
            }
            const double slack = (static_cast<double>(dim) / 2 + 8) * 0x1.0p-24 * magnitude;
            CHECK(std::fabs(kernels.l1_scaled(query, row, scale, dim) - differences) <= slack);
        }
        const auto whole = small_integers<float>(dim, dim);
        const std::vector<std::int8_t> same(whole.begin(), whole.end());
        CHECK(kernels.l1_scaled(whole.data(), same.data(), 1.0f, dim) == 0.0f);
    }
}

// Dimensions are bits here: around a byte, a word and each level's vector.
void hamming_counts_each_differing_bit_once(const simd::Kernels& kernels) {
    constexpr std::size_t kBitDims[] = {1,   3,   7,   8,   9,   15,  16,   17,   31,    32,
                                        33,  63,  64,  65,  100, 127, 128,  255,  256,   257,
                                        384, 511, 512, 513, 768, 777, 1024, 1536, 16'384};
    constexpr std::size_t kBitRows = 4;
    GuardedBytes query_memory, row_memory;
    for (const std::size_t dim : kBitDims) {
        const std::size_t bytes = simd::vector_bytes(simd::ElementType::binary, dim);
        const auto bit = [](std::size_t i) { return static_cast<std::uint8_t>(0x80u >> (i % 8)); };
        std::vector<std::uint8_t> query(bytes), rows(kBitRows * bytes);
        float wanted[kBitRows] = {};
        llmspell::SplitMix64 random(dim);
        for (std::size_t i = 0; i < dim; ++i) {
            const auto drawn = random();
            const bool set = (drawn & 1u) != 0;
            if (set) query[i / 8] |= bit(i);
            for (std::size_t r = 0; r < kBitRows; ++r) {
                // The first row is the query, the second its opposite.
                const bool differs = r == 1 || (r > 1 && ((drawn >> r) & 1u) != 0);
                if (set != differs) rows[r * bytes + i / 8] |= bit(i);
                wanted[r] += differs ? 1.0f : 0.0f;
            }
        }
        const auto* q = query_memory.last(query);
        const auto* base = row_memory.last(rows);
        constexpr std::uint32_t kOrder[] = {3, 0, 1, 2};
        for (std::size_t count = 1; count <= kBitRows; ++count) {
            float got[kBitRows], gathered[kBitRows];
            kernels.hamming.batch(q, base, bytes, nullptr, count, dim, got);
            kernels.hamming.batch(q, base, bytes, kOrder, count, dim, gathered);
            for (std::size_t r = 0; r < count; ++r) {
                CHECK(got[r] == wanted[r]);
                CHECK(gathered[r] == wanted[kOrder[r]]);
            }
        }
        const std::vector<std::uint8_t> nothing(bytes);
        for (std::size_t i = 0; i < dim; ++i) {  // no bit is lost, wherever it stands
            std::vector<std::uint8_t> one(bytes);
            one[i / 8] = bit(i);
            CHECK(kernels.hamming.pair(one.data(), nothing.data(), dim) == 1.0f);
        }
    }
}

template <class Row>
void cosine_is_one_for_itself_and_zero_for_nothing(const simd::Kernels& kernels) {
    for (const std::size_t dim : kDims) {
        const auto row = small_integers<Row>(dim + 1, dim);
        std::vector<QueryOf<Row>> query(dim), opposite(dim), nothing(dim);
        for (std::size_t i = 0; i < dim; ++i) {
            query[i] = static_cast<QueryOf<Row>>(value_of(row[i]));
            opposite[i] = static_cast<QueryOf<Row>>(-value_of(row[i]));
        }
        const auto cosine = kernel<Row>(kernels, Which::cosine).pair;
        const bool zero = std::all_of(query.begin(), query.end(), [](auto x) { return x == 0; });
        CHECK(std::fabs(cosine(query.data(), row.data(), dim) - (zero ? 0 : 1)) <= 0x1.0p-22);
        CHECK(std::fabs(cosine(opposite.data(), row.data(), dim) + (zero ? 0 : 1)) <= 0x1.0p-22);
        CHECK(cosine(nothing.data(), row.data(), dim) == 0);
        CHECK(cosine(query.data(), std::vector<Row>(dim).data(), dim) == 0);
    }
}

void threads_may_share_a_table(const simd::Kernels& kernels) {
    constexpr std::size_t kDim = 384;
    const auto query = random_vectors<float>(kDim, 1);
    const auto rows = random_vectors<float>(kRows * kDim, 2);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            float got[kRows];
            kernels.ip[0].batch(query.data(), rows.data(), kDim * sizeof(float), nullptr, kRows,
                                kDim, got);
            const Expected wanted = expected<float>(Which::ip, query.data(), rows.data(), kDim);
            CHECK(std::fabs(got[0] - wanted.value) <= wanted.slack);
        });
    }
    for (auto& thread : threads) thread.join();
}

template <class Row>
void check_rows_of(const simd::Kernels& kernels) {
    every_dimension_agrees_with_double_precision<Row>(kernels);
    alignment_and_stride_do_not_matter<Row>(kernels);
    nothing_beyond_a_vector_is_read<Row>(kernels);
    cosine_is_one_for_itself_and_zero_for_nothing<Row>(kernels);
}

void check_level(const simd::Kernels& kernels) {
    std::printf("%s\n", simd::name(kernels.level).data());
    check_rows_of<float>(kernels);
    check_rows_of<Half>(kernels);
    check_rows_of<std::int8_t>(kernels);
    check_rows_of<BFloat16>(kernels);
    scaled_l1_is_that_of_the_scaled_row(kernels);
    hamming_counts_each_differing_bit_once(kernels);
    int8_extremes_do_not_overflow(kernels);
    threads_may_share_a_table(kernels);
}

}  // namespace

int main() {
    if (forced_level_is_missing()) return kSkipped;
    if (!forced_level().empty()) {
        CHECK(simd::name(simd::active().level) == forced_level());
        check_level(simd::active());
        return check_result();
    }
    for (const simd::Level level : kLevels) {
        if (simd::table(level) != nullptr) check_level(*simd::table(level));
    }
    return check_result();
}
