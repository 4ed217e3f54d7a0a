#include "index/quantiser.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "simd/half.hpp"

namespace llmspell::index {
namespace {

using simd::ElementType;

std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

// Rows that span cache lines begin on one.
std::size_t padded(std::size_t bytes) { return round_up(bytes, bytes >= 64 ? 64 : 16); }

// The largest absolute value; NaN or infinity where there is one. Without their sign, floats order
// as the integers of the same bits do, and a maximum of integers is a loop that vectorises.
float largest_of(const float* vector, std::size_t dim) {
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < dim; ++i) {
        largest = std::max(largest, std::bit_cast<std::uint32_t>(vector[i]) & 0x7fffffffu);
    }
    return std::bit_cast<float>(largest);
}

// The same of halves of either kind.
std::uint16_t largest_of(const std::uint16_t* bits, std::size_t dim) {
    std::uint16_t largest = 0;
    for (std::size_t i = 0; i < dim; ++i) {
        largest = std::max<std::uint16_t>(largest, bits[i] & 0x7fffu);
    }
    return largest;
}

// A squared distance is at most four times the square of the longer vector's length.
float max_component(std::size_t dim, ElementType type) {
    constexpr float kMaxHalf = 65504.0f;
    const float sums =
        std::sqrt(std::numeric_limits<float>::max() / (8.0f * static_cast<float>(dim)));
    return type == ElementType::f16 ? std::min(kMaxHalf, sums) : sums;
}

const simd::Metric& kernel_of(const simd::Kernels& kernels, Metric metric, ElementType type) {
    const auto i = static_cast<std::size_t>(type);
    switch (metric) {
        case Metric::l2:
            return kernels.l2[i];
        case Metric::l1:
            return kernels.l1[i];
        case Metric::hamming:
            return kernels.hamming;
        default:
            return kernels.ip[i];
    }
}

}  // namespace

Quantiser::Quantiser(std::size_t dim, Metric metric, ElementType type)
    : dim_(dim),
      metric_(metric),
      type_(type),
      vector_bytes_(type == ElementType::binary ? simd::vector_bytes(type, dim)
                                                : dim * sizeof(float)),
      code_bytes_(round_up(dim, 4)),
      row_bytes_(padded(type == ElementType::i8 ? code_bytes_ + 2 * sizeof(float)
                                                : simd::vector_bytes(type, dim))),
      max_component_(max_component(dim, type)),
      negated_(metric == Metric::ip || metric == Metric::cosine),
      kernels_(&simd::active()),
      kernel_(kernel_of(*kernels_, metric, type)) {}

void Quantiser::check(const void* vector, std::size_t position) const {
    if (type_ != ElementType::binary) {
        check_numbers(static_cast<const float*>(vector), position);
    } else if (!spare_bits_are_zero(vector)) {
        throw Error(ErrorCode::input, "vector " + std::to_string(position) +
                                          " sets bits beyond its " + std::to_string(dim_));
    }
}

bool Quantiser::spare_bits_are_zero(const void* vector) const noexcept {
    const auto last = static_cast<const std::uint8_t*>(vector)[vector_bytes_ - 1];
    return dim_ % 8 == 0 || (last & (0xffu >> (dim_ % 8))) == 0;
}

void Quantiser::check_numbers(const float* vector, std::size_t position) const {
    const float largest = largest_of(vector, dim_);
    const auto refuse = [&](ErrorCode code, const std::string& what) {
        throw Error(code, "vector " + std::to_string(position) + " " + what);
    };
    if (!std::isfinite(largest)) refuse(ErrorCode::non_finite_vector, "holds NaN or infinity");
    if (metric_ == Metric::cosine) {
        if (largest == 0.0f) refuse(ErrorCode::zero_vector, "is zero; cosine is undefined for it");
        return;
    }
    if (largest > max_component_) {
        refuse(ErrorCode::non_finite_vector, "holds " + std::to_string(largest) + "; above " +
                                                 std::to_string(max_component_) +
                                                 " products or rows overflow");
    }
}

float Quantiser::largest_in(const std::byte* row) const {
    switch (type_) {
        case ElementType::f32:
            return largest_of(reinterpret_cast<const float*>(row), dim_);
        case ElementType::f16:
            return simd::half_to_float(
                largest_of(reinterpret_cast<const std::uint16_t*>(row), dim_));
        case ElementType::bf16:
            return std::bit_cast<float>(
                std::uint32_t{largest_of(reinterpret_cast<const std::uint16_t*>(row), dim_)} << 16);
        default: {
            std::vector<float> vector(dim_);
            decode(row, vector.data());
            return largest_of(vector.data(), dim_);
        }
    }
}

bool Quantiser::sound(const std::byte* row) const {
    if (type_ == ElementType::binary) return spare_bits_are_zero(row);
    const float largest = largest_in(row);
    // Half as much again for what rounding adds to a normalised vector.
    const bool fits =
        metric_ == Metric::cosine ? largest <= 1.5f : largest <= 1.5f * max_component_;
    if (type_ != ElementType::i8) return fits;
    const float scale = tail(row, 0);
    const float norm2 = squared_length(reinterpret_cast<const std::int8_t*>(row), scale);
    return fits && scale > 0.0f && std::fabs(tail(row, 1) - norm2) <= 1e-5f * norm2;
}

float Quantiser::squared_length(const std::int8_t* codes, float scale) const noexcept {
    double sum = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) sum += static_cast<double>(codes[i]) * codes[i];
    return static_cast<float>(sum * scale * scale);
}

void Quantiser::normalised(const float* vector, float* out) const {
    // Scaled by the largest component first, so that squares neither overflow nor vanish.
    const float largest = largest_of(vector, dim_);
    double sum = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) {
        const double x = static_cast<double>(vector[i]) / largest;
        sum += x * x;
    }
    const double factor = 1.0 / (std::sqrt(sum) * largest);
    for (std::size_t i = 0; i < dim_; ++i) out[i] = static_cast<float>(vector[i] * factor);
}

const float* Quantiser::unit(const float* vector, std::vector<float>& scratch) const {
    if (metric_ != Metric::cosine) return vector;
    scratch.resize(dim_);
    normalised(vector, scratch.data());
    return scratch.data();
}

void Quantiser::encode(const void* input, std::byte* row) const {
    std::vector<float> scratch;
    const float* vector = unit(static_cast<const float*>(input), scratch);
    switch (type_) {
        case ElementType::f32:
            std::memcpy(row, vector, vector_bytes_);
            break;
        case ElementType::binary:
            std::memcpy(row, input, vector_bytes_);
            break;
        case ElementType::f16:
            kernels_->f32_to_f16(vector, reinterpret_cast<std::uint16_t*>(row), dim_);
            break;
        case ElementType::i8:
            encode_bytes(vector, row);
            break;
        case ElementType::bf16:
            kernels_->f32_to_bf16(vector, reinterpret_cast<simd::BFloat16*>(row), dim_);
            break;
    }
}

void Quantiser::encode_bytes(const float* vector, std::byte* row) const {
    const float largest = largest_of(vector, dim_);
    bool whole = largest <= 127.0f;
    for (std::size_t i = 0; whole && i < dim_; ++i) whole = vector[i] == std::nearbyint(vector[i]);
    // Not below the smallest normal number: a quotient by less could overflow.
    const float scale =
        whole ? 1.0f : std::max(largest / 127.0f, std::numeric_limits<float>::min());
    auto* codes = reinterpret_cast<std::int8_t*>(row);
    for (std::size_t i = 0; i < dim_; ++i) {
        const float code = std::clamp(std::nearbyint(vector[i] / scale), -127.0f, 127.0f);
        codes[i] = static_cast<std::int8_t>(code);
    }
    const float tail[2] = {scale, squared_length(codes, scale)};
    std::memcpy(row + code_bytes_, tail, sizeof(tail));
}

float Quantiser::tail(const std::byte* row, std::size_t which) const noexcept {
    float value;
    std::memcpy(&value, row + code_bytes_ + which * sizeof(float), sizeof(float));
    return value;
}

void Quantiser::decode(const std::byte* row, void* out) const {
    auto* vector = static_cast<float*>(out);
    switch (type_) {
        case ElementType::f32:
        case ElementType::binary:
            std::memcpy(out, row, vector_bytes_);
            break;
        case ElementType::f16:
            kernels_->f16_to_f32(reinterpret_cast<const std::uint16_t*>(row), vector, dim_);
            break;
        case ElementType::i8: {
            const auto* codes = reinterpret_cast<const std::int8_t*>(row);
            const float scale = tail(row, 0);
            for (std::size_t i = 0; i < dim_; ++i) vector[i] = static_cast<float>(codes[i]) * scale;
            break;
        }
        case ElementType::bf16:
            kernels_->bf16_to_f32(reinterpret_cast<const simd::BFloat16*>(row), vector, dim_);
            break;
    }
}

Query Quantiser::query(const void* vector, std::vector<std::byte>& scratch) const {
    if (type_ == ElementType::i8) {
        scratch.resize(row_bytes_ + dim_ * sizeof(float));
        encode(vector, scratch.data());
        return query_of_codes(scratch.data(),
                              reinterpret_cast<float*>(scratch.data() + row_bytes_));
    }
    if (metric_ != Metric::cosine) return {vector};
    scratch.resize(dim_ * sizeof(float));
    normalised(static_cast<const float*>(vector), reinterpret_cast<float*>(scratch.data()));
    return {scratch.data()};
}

Query Quantiser::query_of_row(const std::byte* row, std::vector<std::byte>& scratch) const {
    if (type_ == ElementType::f32 || type_ == ElementType::binary) return {row};
    scratch.resize(dim_ * sizeof(float));
    if (type_ == ElementType::i8) {
        return query_of_codes(row, reinterpret_cast<float*>(scratch.data()));
    }
    decode(row, reinterpret_cast<float*>(scratch.data()));
    return {scratch.data()};
}

Query Quantiser::query_of_codes(const std::byte* row, float* values) const {
    if (metric_ != Metric::l1) return {row, tail(row, 0), tail(row, 1)};
    decode(row, values);
    return {row, tail(row, 0), tail(row, 1), values};
}

void Quantiser::keys(const Query& query, const std::byte* base, const Slot* slots,
                     std::size_t count, float* out) const {
    if (type_ == ElementType::i8 && metric_ == Metric::l1) {
        l1_keys(query, base, slots, count, out);
        return;
    }
    kernel_.batch(query.data, base, row_bytes_, slots, count, dim_, out);
    if (type_ == ElementType::i8) {
        scale_keys(query, base, slots, count, out);
    } else if (negated_) {
        for (std::size_t i = 0; i < count; ++i) out[i] = -out[i];
    }
}

// From what the kernels say of codes.
void Quantiser::scale_keys(const Query& query, const std::byte* base, const Slot* slots,
                           std::size_t count, float* out) const {
    for (std::size_t i = 0; i < count; ++i) {
        const std::byte* row = base + (slots ? slots[i] : i) * row_bytes_;
        const float a = query.scale, b = tail(row, 0);
        if (negated_) {
            out[i] *= -a * b;
            continue;
        }
        // |a x - b y|^2 from |x - y|^2 of the codes: where scales are near each other, as they
        // are for near vectors, nothing cancels; where they are equal it is exact.
        const float rest = (a - b) * (query.norm2 / a - tail(row, 1) / b);
        out[i] = std::max(0.0f, a * b * out[i] + rest);
    }
}

// A sum of |a x - b y| is no function of sums over the codes, unless the scales are equal, as they
// are where all vectors hold whole numbers.
void Quantiser::l1_keys(const Query& query, const std::byte* base, const Slot* slots,
                        std::size_t count, float* out) const {
    constexpr std::size_t kAhead = 4;
    const auto at = [&](std::size_t i) { return base + (slots ? slots[i] : i) * row_bytes_; };
    for (std::size_t i = 0; i < count; ++i) {
        if (i + kAhead < count) __builtin_prefetch(at(i + kAhead));
        const std::byte* row = at(i);
        const float scale = tail(row, 0);
        out[i] = scale == query.scale
                     ? scale * kernel_.pair(query.data, row, dim_)
                     : kernels_->l1_scaled(query.values, reinterpret_cast<const std::int8_t*>(row),
                                           scale, dim_);
    }
}

}  // namespace llmspell::index
