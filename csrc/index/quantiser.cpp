#include "index/quantiser.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace llmspell::index {
namespace {

using simd::ElementType;

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

// Rows that span cache lines begin on one.
std::size_t padded(std::size_t bytes) { return round_up(bytes, bytes >= 64 ? 64 : 16); }

}  // namespace

Quantiser::Quantiser(std::size_t dim, Metric metric, ElementType type)
    : dim_(dim),
      metric_(metric),
      type_(type),
      code_bytes_(round_up(dim, 4)),
      row_bytes_(padded(type == ElementType::i8 ? code_bytes_ + 2 * sizeof(float)
                                                : dim * simd::element_size(type))),
      kernels_(&simd::active()),
      kernel_((metric == Metric::l2 && type != ElementType::i8 ? kernels_->l2 : kernels_->ip)
                  [static_cast<std::size_t>(type)]) {}

void Quantiser::check(const float* vector, std::size_t position) const {
    // NaN and infinity both make x - x differ from zero, and a sum of zeros is zero.
    float finite = 0.0f;
    float largest = 0.0f;
    for (std::size_t i = 0; i < dim_; ++i) {
        finite += vector[i] - vector[i];
        largest = std::max(largest, std::fabs(vector[i]));
    }
    if (finite != 0.0f) {
        throw Error(ErrorCode::non_finite_vector,
                    "vector " + std::to_string(position) + " holds NaN or infinity");
    }
    if (type_ == ElementType::f16 && metric_ != Metric::cosine && largest > 65504.0f) {
        throw Error(ErrorCode::non_finite_vector, "vector " + std::to_string(position) +
                                                      " holds a value beyond float16's 65504");
    }
    if (metric_ == Metric::cosine && largest == 0.0f) {
        throw Error(ErrorCode::zero_vector, "vector " + std::to_string(position) +
                                                " is zero; cosine is undefined for it");
    }
}

void Quantiser::normalised(const float* vector, float* out) const {
    // Scaled by the largest component first, so that squares neither overflow nor vanish.
    float largest = 0.0f;
    for (std::size_t i = 0; i < dim_; ++i) largest = std::max(largest, std::fabs(vector[i]));
    double sum = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) {
        const double x = static_cast<double>(vector[i]) / largest;
        sum += x * x;
    }
    const double factor = 1.0 / (std::sqrt(sum) * largest);
    for (std::size_t i = 0; i < dim_; ++i) out[i] = static_cast<float>(vector[i] * factor);
}

void Quantiser::encode(const float* vector, std::byte* row) const {
    std::vector<float> unit;
    if (metric_ == Metric::cosine) {
        unit.resize(dim_);
        normalised(vector, unit.data());
        vector = unit.data();
    }
    switch (type_) {
        case ElementType::f32:
            std::memcpy(row, vector, dim_ * sizeof(float));
            break;
        case ElementType::f16:
            kernels_->f32_to_f16(vector, reinterpret_cast<std::uint16_t*>(row), dim_);
            break;
        case ElementType::i8:
            encode_bytes(vector, row);
            break;
    }
}

void Quantiser::encode_bytes(const float* vector, std::byte* row) const {
    float largest = 0.0f;
    bool whole = true;
    for (std::size_t i = 0; i < dim_; ++i) {
        largest = std::max(largest, std::fabs(vector[i]));
        whole = whole && vector[i] == std::nearbyint(vector[i]);
    }
    const float scale = (whole && largest <= 127.0f) || largest == 0.0f ? 1.0f : largest / 127.0f;
    auto* codes = reinterpret_cast<std::int8_t*>(row);
    double norm2 = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) {
        const float code = std::clamp(std::nearbyint(vector[i] / scale), -127.0f, 127.0f);
        codes[i] = static_cast<std::int8_t>(code);
        norm2 += static_cast<double>(code) * code;
    }
    const float tail[2] = {scale, static_cast<float>(norm2 * scale * scale)};
    std::memcpy(row + code_bytes_, tail, sizeof(tail));
}

float Quantiser::tail(const std::byte* row, std::size_t which) const noexcept {
    float value;
    std::memcpy(&value, row + code_bytes_ + which * sizeof(float), sizeof(float));
    return value;
}

void Quantiser::decode(const std::byte* row, float* vector) const {
    switch (type_) {
        case ElementType::f32:
            std::memcpy(vector, row, dim_ * sizeof(float));
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
    }
}

Query Quantiser::query(const float* vector, std::vector<std::byte>& scratch) const {
    if (type_ == ElementType::i8) {
        scratch.resize(row_bytes_);
        encode(vector, scratch.data());
        return {scratch.data(), tail(scratch.data(), 0), tail(scratch.data(), 1)};
    }
    if (metric_ != Metric::cosine) return {vector};
    scratch.resize(dim_ * sizeof(float));
    normalised(vector, reinterpret_cast<float*>(scratch.data()));
    return {scratch.data()};
}

Query Quantiser::query_of_row(const std::byte* row, std::vector<std::byte>& scratch) const {
    if (type_ == ElementType::f32) return {row};
    if (type_ == ElementType::i8) return {row, tail(row, 0), tail(row, 1)};
    scratch.resize(dim_ * sizeof(float));
    decode(row, reinterpret_cast<float*>(scratch.data()));
    return {scratch.data()};
}

void Quantiser::keys(const Query& query, const std::byte* base, const Slot* slots,
                     std::size_t count, float* out) const {
    kernel_.batch(query.data, base, row_bytes_, slots, count, dim_, out);
    if (type_ == ElementType::i8) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::byte* row = base + (slots ? slots[i] : i) * row_bytes_;
            const float dot = out[i] * query.scale * tail(row, 0);
            out[i] = metric_ == Metric::l2 ? std::max(0.0f, query.norm2 + tail(row, 1) - 2.0f * dot)
                                           : -dot;
        }
    } else if (metric_ != Metric::l2) {
        for (std::size_t i = 0; i < count; ++i) out[i] = -out[i];
    }
}

}  // namespace llmspell::index
