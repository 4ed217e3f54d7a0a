// The one kernel body. Each level's file defines its vector types and operations in an anonymous
// namespace inside llmspell::simd::<level> and then includes this file there, so nothing here has
// external linkage and no level's code can replace another's at link time.
//
// A level provides:
//   V, kLanes            a vector of float32 and its length
//   zero() load(float*) load(half*) add(a, b) sub(a, b) fma(a, b, c) = a * b + c, sum(V)
//   W, I, kWords         int16 vector of kWords elements, int32 accumulator
//   zero_i() widen(int8*) sub_w(a, b) dot_w(acc, a, b), sum_i(I)
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

template <class T>
inline V load_part(const T* p, std::size_t count) {
    T buffer[kLanes] = {};
    std::memcpy(buffer, p, count * sizeof(T));
    return load(buffer);
}

inline W widen_part(const std::int8_t* p, std::size_t count) {
    std::int8_t buffer[kWords] = {};
    std::memcpy(buffer, p, count);
    return widen(buffer);
}

// One query against R rows at once, so that a loaded piece of the query serves R rows; kUnroll
// accumulators a row keep R * kUnroll >= 4 independent sums in flight, which hides the four cycles
// of a fused multiply-add on current x86 and Arm cores.
template <class Op, class Query, class Row, std::size_t R>
inline void floats(const Query* query, const Row* const (&rows)[R], std::size_t dim,
                   float (&out)[R]) {
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
                acc[r][u] = Op::step(acc[r][u], q, load(rows[r] + i + u * kLanes));
            }
        }
    }
    for (; i + kLanes <= dim; i += kLanes) {
        const V q = load(query + i);
        for (std::size_t r = 0; r < R; ++r) acc[r][0] = Op::step(acc[r][0], q, load(rows[r] + i));
    }
    if (i < dim) {
        const V q = load_part(query + i, dim - i);
        for (std::size_t r = 0; r < R; ++r) {
            acc[r][1] = Op::step(acc[r][1], q, load_part(rows[r] + i, dim - i));
        }
    }
    for (std::size_t r = 0; r < R; ++r) {
        V total = acc[r][0];
        for (std::size_t u = 1; u < kUnroll; ++u) total = add(total, acc[r][u]);
        out[r] = sum(total);
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
    if (i < dim) {
        const W q = widen_part(query + i, dim - i);
        for (std::size_t r = 0; r < R; ++r) {
            acc[r] = Op::step(acc[r], q, widen_part(rows[r] + i, dim - i));
        }
    }
    for (std::size_t r = 0; r < R; ++r) out[r] = sum_i(acc[r]);
}

// The three element types as the types above want them.
template <class Op, class Row, std::size_t R>
inline void distances(const void* query, const void* const (&rows)[R], std::size_t dim,
                      float (&out)[R]) {
    const Row* typed[R];
    for (std::size_t r = 0; r < R; ++r) typed[r] = static_cast<const Row*>(rows[r]);
    if constexpr (std::is_same_v<Row, std::int8_t>) {
        std::int32_t exact[R];
        bytes<Op, R>(static_cast<const Row*>(query), typed, dim, exact);
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

// Four rows on, the first lines of the rows to come are asked for; the hardware's own streams
// fetch the rest of a row once its beginning is read in order.
constexpr std::size_t kRowsAtOnce = 4;
constexpr std::size_t kPrefetchBytes = 512;

inline void prefetch_row(const std::byte* row, std::size_t bytes_per_row) {
    const std::size_t end = bytes_per_row < kPrefetchBytes ? bytes_per_row : kPrefetchBytes;
    for (std::size_t at = 0; at < end; at += 64) __builtin_prefetch(row + at);
}

template <class Op, class Row>
void batch(const void* query, const void* base, std::size_t stride, const std::uint32_t* rows,
           std::size_t count, std::size_t dim, float* out) {
    const auto* bytes_at = static_cast<const std::byte*>(base);
    const auto address = [=](std::size_t i) { return bytes_at + (rows ? rows[i] : i) * stride; };
    const std::size_t row_bytes = dim * sizeof(Row);
    std::size_t i = 0;
    for (; i + kRowsAtOnce <= count; i += kRowsAtOnce) {
        if (rows != nullptr) {
            const std::size_t next_end = i + 2 * kRowsAtOnce < count ? i + 2 * kRowsAtOnce : count;
            for (std::size_t n = i + kRowsAtOnce; n < next_end; ++n) {
                prefetch_row(address(n), row_bytes);
            }
        }
        const void* const four[kRowsAtOnce] = {address(i), address(i + 1), address(i + 2),
                                               address(i + 3)};
        float result[kRowsAtOnce];
        distances<Op, Row, kRowsAtOnce>(query, four, dim, result);
        for (std::size_t r = 0; r < kRowsAtOnce; ++r) out[i + r] = result[r];
    }
    for (; i < count; ++i) out[i] = pair<Op, Row>(query, address(i), dim);
}

template <class Row>
void batch_cosine(const void* query, const void* base, std::size_t stride,
                  const std::uint32_t* rows, std::size_t count, std::size_t dim, float* out) {
    batch<InnerProduct, Row>(query, base, stride, rows, count, dim, out);
    const float query_norm2 = squared_norm(static_cast<const QueryOf<Row>*>(query), dim);
    const auto* bytes_at = static_cast<const std::byte*>(base);
    for (std::size_t i = 0; i < count; ++i) {
        const auto* row = reinterpret_cast<const Row*>(bytes_at + (rows ? rows[i] : i) * stride);
        out[i] = cosine_of(out[i], query_norm2, squared_norm(row, dim));
    }
}

template <class Op>
constexpr void fill(Metric (&metric)[3]) {
    metric[0] = {&pair<Op, float>, &batch<Op, float>};
    metric[1] = {&pair<Op, Half>, &batch<Op, Half>};
    metric[2] = {&pair<Op, std::int8_t>, &batch<Op, std::int8_t>};
}

constexpr Kernels make_kernels(Level level) {
    Kernels kernels{};
    kernels.level = level;
    fill<InnerProduct>(kernels.ip);
    fill<SquaredL2>(kernels.l2);
    kernels.cosine[0] = {&pair_cosine<float>, &batch_cosine<float>};
    kernels.cosine[1] = {&pair_cosine<Half>, &batch_cosine<Half>};
    kernels.cosine[2] = {&pair_cosine<std::int8_t>, &batch_cosine<std::int8_t>};
    kernels.f32_to_f16 = &f32_to_f16;
    kernels.f16_to_f32 = &f16_to_f32;
    return kernels;
}
