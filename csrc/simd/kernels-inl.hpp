// The one kernel body. Each level's file defines its vector types and operations in an anonymous
// namespace inside llmspell::simd::<level> and then includes this file there, so nothing here has
// external linkage and no level's code can replace another's at link time.
//
// A level provides:
//   V, kLanes            a vector of float32 and its length
//   zero() splat(x) load(float*) load(half*) load(bfloat16*) load(int8*) add(a, b) sub(a, b)
//   fma(a, b, c) = a * b + c, abs(V), sum(V)
//   keep_last(v, n)      v with zeros in all but its last n lanes
//   W, I, kWords         int16 vector of kWords elements, int32 accumulator
//   zero_i() ones_w() widen(int8*) sub_w(a, b) abs_w(W) dot_w(acc, a, b), sum_i(I),
//   keep_last_w(w, n)
//   ByteDot              products of unsigned by signed bytes, or void; see dot_bytes
//   and what bits-inl.hpp names
// Rows are read to their end and never past it.

using Half = std::uint16_t;

struct InnerProduct {
    static inline V step(V acc, V a, V b) { return fma(a, b, acc); }
    static inline I step(I acc, W a, W b) { return dot_w(acc, a, b); }
};

struct SquaredL2 {
    static inline V step(V acc, V a, V b) {
        const V d = sub(a, b);
        return fma(d, d, acc);
    }
    static inline I step(I acc, W a, W b) {
        const W d = sub_w(a, b);
        return dot_w(acc, d, d);
    }
};

struct L1 {
    static inline V step(V acc, V a, V b) { return add(acc, abs(sub(a, b))); }
    static inline I step(I acc, W a, W b) { return dot_w(acc, abs_w(sub_w(a, b)), ones_w()); }
};

struct ScaledL1 {
    V minus_scale;
    inline V step(V acc, V a, V b) const { return add(acc, abs(fma(minus_scale, b, a))); }
};

struct Hamming {};  // the operation is that of the type

// The last `count` elements of a vector of numbers, fewer than the level takes at once, with zeros
// for the rest; `before` elements of the same vector lie in front of them. A level with masked
// loads has plain functions of these names, which win over the templates.
template <class T>
inline V load_part(const T* p, std::size_t count, std::size_t before) {
    if (before >= kLanes) return keep_last(load(p + count - kLanes), count);
    T buffer[kLanes] = {};
    std::memcpy(buffer, p, count * sizeof(T));
    return load(buffer);
}

template <class T>
inline W widen_part(const T* p, std::size_t count, std::size_t before) {
    if (before >= kWords) return keep_last_w(widen(p + count - kWords), count);
    T buffer[kWords] = {};
    std::memcpy(buffer, p, count * sizeof(T));
    return widen(buffer);
}

// One query against R rows at once, so that a loaded piece of the query serves R rows. kUnroll
// accumulators a row keep enough sums in flight to hide the four cycles of a fused multiply-add.
// Measured at 384 dimensions, AVX2, float32: four rows take 9.3 ns each with 2, 11.8 with 1 and
// 11.1 with 4, which spills; one row takes 14.8 ns with 4, 19.6 with 2 and 17.4 with 8.
template <class Op, class Query, class Row, std::size_t R>
inline void floats(const Query* query, const Row* const (&rows)[R], std::size_t dim,
                   float (&out)[R], const Op& op = {}) {
    constexpr std::size_t kUnroll = R >= 4 ? 2 : 4;
    V acc[R][kUnroll];
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t u = 0; u < kUnroll; ++u) acc[r][u] = zero();
    }
    std::size_t i = 0;
    for (; i + kUnroll * kLanes <= dim; i += kUnroll * kLanes) {
        for (std::size_t u = 0; u < kUnroll; ++u) {
            const V q = load(query + i + u * kLanes);
            for (std::size_t r = 0; r < R; ++r) {
                acc[r][u] = op.step(acc[r][u], q, load(rows[r] + i + u * kLanes));
            }
        }
    }
    for (; i + kLanes <= dim; i += kLanes) {
        const V q = load(query + i);
        for (std::size_t r = 0; r < R; ++r) acc[r][0] = op.step(acc[r][0], q, load(rows[r] + i));
    }
    if constexpr (kLanes > 1) {
        if (i < dim) {
            const V q = load_part(query + i, dim - i, i);
            for (std::size_t r = 0; r < R; ++r) {
                acc[r][1] = op.step(acc[r][1], q, load_part(rows[r] + i, dim - i, i));
            }
        }
    }
    for (std::size_t r = 0; r < R; ++r) {
        V total = acc[r][0];
        for (std::size_t u = 1; u < kUnroll; ++u) total = add(total, acc[r][u]);
        out[r] = sum(total);
    }
}

// Where the level multiplies unsigned by signed bytes: with u = row + 128, which is the row with
// its top bits flipped, the sum of q * row is that of q * u less 128 times the sum of q. Each term
// of these is below 255 * 128 in magnitude, so int32 holds 16,384 of them.
template <class Dot, std::size_t R>
inline void dot_bytes(const std::int8_t* query, const std::int8_t* const (&rows)[R],
                      std::size_t dim, std::int32_t (&out)[R]) {
    constexpr std::size_t kUnroll = R >= 4 ? 1 : 2;
    I acc[R][kUnroll];
    I shift = zero_i();
    for (std::size_t r = 0; r < R; ++r) {
        for (std::size_t u = 0; u < kUnroll; ++u) acc[r][u] = zero_i();
    }
    std::size_t i = 0;
    for (; i + kUnroll * Dot::kBytes <= dim; i += kUnroll * Dot::kBytes) {
        for (std::size_t u = 0; u < kUnroll; ++u) {
            const auto q = Dot::load(query + i + u * Dot::kBytes);
            shift = Dot::step(shift, Dot::flipped_zero(), q);
            for (std::size_t r = 0; r < R; ++r) {
                const auto row = Dot::load(rows[r] + i + u * Dot::kBytes);
                acc[r][u] = Dot::step(acc[r][u], Dot::flip(row), q);
            }
        }
    }
    while (i < dim) {
        const std::size_t count = dim - i < Dot::kBytes ? dim - i : Dot::kBytes;
        const auto q = Dot::load_part(query + i, count);
        shift = Dot::step(shift, Dot::flipped_zero(), q);
        for (std::size_t r = 0; r < R; ++r) {
            acc[r][0] = Dot::step(acc[r][0], Dot::flip(Dot::load_part(rows[r] + i, count)), q);
        }
        i += count;
    }
    const std::int32_t excess = sum_i(shift);
    for (std::size_t r = 0; r < R; ++r) {
        I total = acc[r][0];
        for (std::size_t u = 1; u < kUnroll; ++u) total = Dot::add(total, acc[r][u]);
        out[r] = sum_i(total) - excess;
    }
}

template <class Op, std::size_t R>
inline void bytes(const std::int8_t* query, const std::int8_t* const (&rows)[R], std::size_t dim,
                  std::int32_t (&out)[R]) {
    I acc[R];
    for (std::size_t r = 0; r < R; ++r) acc[r] = zero_i();
    std::size_t i = 0;
    for (; i + kWords <= dim; i += kWords) {
        const W q = widen(query + i);
        for (std::size_t r = 0; r < R; ++r) acc[r] = Op::step(acc[r], q, widen(rows[r] + i));
    }
    if constexpr (kWords > 1) {
        if (i < dim) {
            const W q = widen_part(query + i, dim - i, i);
            for (std::size_t r = 0; r < R; ++r) {
                acc[r] = Op::step(acc[r], q, widen_part(rows[r] + i, dim - i, i));
            }
        }
    }
    for (std::size_t r = 0; r < R; ++r) out[r] = sum_i(acc[r]);
}

#include "simd/bits-inl.hpp"

// The element types as the types above want them.
template <class Op, class Row, std::size_t R>
inline void distances(const void* query, const void* const (&rows)[R], std::size_t dim,
                      float (&out)[R]) {
    const Row* typed[R];
    for (std::size_t r = 0; r < R; ++r) typed[r] = static_cast<const Row*>(rows[r]);
    if constexpr (std::is_same_v<Row, std::int8_t>) {
        std::int32_t exact[R];
        if constexpr (std::is_same_v<Op, InnerProduct> && !std::is_void_v<ByteDot>) {
            dot_bytes<ByteDot, R>(static_cast<const Row*>(query), typed, dim, exact);
        } else {
            bytes<Op, R>(static_cast<const Row*>(query), typed, dim, exact);
        }
        for (std::size_t r = 0; r < R; ++r) out[r] = static_cast<float>(exact[r]);
    } else if constexpr (std::is_same_v<Row, Bits>) {
        std::uint32_t exact[R];
        bits<R>(static_cast<const Row*>(query), typed, dim, exact);
        for (std::size_t r = 0; r < R; ++r) out[r] = static_cast<float>(exact[r]);
    } else {
        floats<Op, float, Row, R>(static_cast<const float*>(query), typed, dim, out);
    }
}

template <class Row>
inline float squared_norm(const Row* row, std::size_t dim) {
    const Row* const rows[1] = {row};
    if constexpr (std::is_same_v<Row, std::int8_t>) {
        std::int32_t out[1];
        bytes<InnerProduct, 1>(row, rows, dim, out);
        return static_cast<float>(out[0]);
    } else {
        float out[1];
        floats<InnerProduct, Row, Row, 1>(row, rows, dim, out);
        return out[0];
    }
}

inline float cosine_of(float dot, float query_norm2, float row_norm2) {
    if (!(query_norm2 > 0) || !(row_norm2 > 0)) return 0.0f;
    const float cosine = dot / (std::sqrt(query_norm2) * std::sqrt(row_norm2));
    return cosine > 1.0f ? 1.0f : cosine < -1.0f ? -1.0f : cosine;
}

template <class Row>
using QueryOf = std::conditional_t<std::is_same_v<Row, std::int8_t>, std::int8_t, float>;

template <class Op, class Row>
float pair(const void* query, const void* row, std::size_t dim) {
    const void* const rows[1] = {row};
    float out[1];
    distances<Op, Row, 1>(query, rows, dim, out);
    return out[0];
}

template <class Row>
float pair_cosine(const void* query, const void* row, std::size_t dim) {
    return cosine_of(pair<InnerProduct, Row>(query, row, dim),
                     squared_norm(static_cast<const QueryOf<Row>*>(query), dim),
                     squared_norm(static_cast<const Row*>(row), dim));
}

// The rows of a batch, by position.
struct Rows {
    const std::byte* base;
    std::size_t stride;
    const std::uint32_t* order;  // or null
    const std::byte* operator[](std::size_t i) const {
        return base + (order != nullptr ? order[i] : i) * stride;
    }
};

template <class Op, class Row, std::size_t R>
inline void group(const void* query, const Rows& rows, std::size_t first, std::size_t dim,
                  float* out) {
    const void* addresses[R];
    for (std::size_t r = 0; r < R; ++r) addresses[r] = rows[first + r];
    float results[R];
    distances<Op, Row, R>(query, addresses, dim, results);
    for (std::size_t r = 0; r < R; ++r) out[first + r] = results[r];
}

constexpr std::size_t kRowsAtOnce = 4;

// Asks for the first line of each row of the next group; the hardware's own streams fetch the rest
// of a row once its beginning is read. Asking for more costs time: on random rows of 384, 768 and
// 1,536 bytes, 128 to 2,048 bytes a row were 10 to 30 % slower (Zen 4, bench_kernels).
inline void prefetch_group(const Rows& rows, std::size_t first, std::size_t count) {
    const std::size_t last = first + kRowsAtOnce < count ? first + kRowsAtOnce : count;
    for (std::size_t i = first; i < last; ++i) __builtin_prefetch(rows[i]);
}

template <class Op, class Row>
void batch(const void* query, const void* base, std::size_t stride, const std::uint32_t* order,
           std::size_t count, std::size_t dim, float* out) {
    const Rows rows{static_cast<const std::byte*>(base), stride, order};
    std::size_t i = 0;
    for (; i + kRowsAtOnce <= count; i += kRowsAtOnce) {
        if (order != nullptr) prefetch_group(rows, i + kRowsAtOnce, count);
        group<Op, Row, kRowsAtOnce>(query, rows, i, dim, out);
    }
    switch (count - i) {
        case 3:
            return group<Op, Row, 3>(query, rows, i, dim, out);
        case 2:
            return group<Op, Row, 2>(query, rows, i, dim, out);
        case 1:
            return group<Op, Row, 1>(query, rows, i, dim, out);
        default:
            return;
    }
}

// In blocks, so that the rows are still in cache when their lengths are taken.
template <class Row>
void batch_cosine(const void* query, const void* base, std::size_t stride,
                  const std::uint32_t* order, std::size_t count, std::size_t dim, float* out) {
    constexpr std::size_t kBlock = 4 * kRowsAtOnce;
    const Rows rows{static_cast<const std::byte*>(base), stride, order};
    const float query_norm2 = squared_norm(static_cast<const QueryOf<Row>*>(query), dim);
    for (std::size_t first = 0; first < count; first += kBlock) {
        const std::size_t last = first + kBlock < count ? first + kBlock : count;
        batch<InnerProduct, Row>(query, order != nullptr ? base : rows[first], stride,
                                 order != nullptr ? order + first : nullptr, last - first, dim,
                                 out + first);
        for (std::size_t i = first; i < last; ++i) {
            const auto* row = reinterpret_cast<const Row*>(rows[i]);
            out[i] = cosine_of(out[i], query_norm2, squared_norm(row, dim));
        }
    }
}

float l1_scaled(const float* query, const std::int8_t* row, float scale, std::size_t dim) {
    const std::int8_t* const rows[1] = {row};
    float out[1];
    floats<ScaledL1, float, std::int8_t, 1>(query, rows, dim, out, ScaledL1{splat(-scale)});
    return out[0];
}

#include "simd/bfloat16-inl.hpp"

template <class Op>
constexpr void fill(Metric (&metric)[kNumberTypes]) {
    metric[0] = {&pair<Op, float>, &batch<Op, float>};
    metric[1] = {&pair<Op, Half>, &batch<Op, Half>};
    metric[2] = {&pair<Op, std::int8_t>, &batch<Op, std::int8_t>};
    metric[3] = {&pair<Op, BFloat16>, &batch<Op, BFloat16>};
}

constexpr Kernels make_kernels(Level level) {
    Kernels kernels{};
    kernels.level = level;
    fill<InnerProduct>(kernels.ip);
    fill<SquaredL2>(kernels.l2);
    kernels.cosine[0] = {&pair_cosine<float>, &batch_cosine<float>};
    kernels.cosine[1] = {&pair_cosine<Half>, &batch_cosine<Half>};
    kernels.cosine[2] = {&pair_cosine<std::int8_t>, &batch_cosine<std::int8_t>};
    kernels.cosine[3] = {&pair_cosine<BFloat16>, &batch_cosine<BFloat16>};
    fill<L1>(kernels.l1);
    kernels.l1_scaled = &l1_scaled;
    kernels.hamming = {&pair<Hamming, Bits>, &batch<Hamming, Bits>};
    kernels.f32_to_f16 = &f32_to_f16;
    kernels.f16_to_f32 = &f16_to_f32;
    kernels.f32_to_bf16 = &f32_to_bf16;
    kernels.bf16_to_f32 = &bf16_to_f32;
    return kernels;
}
