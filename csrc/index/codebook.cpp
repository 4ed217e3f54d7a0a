#include "index/codebook.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "index/dots.hpp"
#include "simd/half.hpp"

namespace llmspell::index {

std::size_t nearest_point(const float* points, const float* projected, std::size_t axes) noexcept {
    float distances[kGroupPoints] = {};
    for (std::size_t a = 0; a < axes; ++a) {
        for (std::size_t k = 0; k < kGroupPoints; ++k) {
            const float rest = projected[a] - points[a * kGroupPoints + k];
            distances[k] += rest * rest;
        }
    }
    return static_cast<std::size_t>(std::min_element(distances, distances + kGroupPoints) -
                                    distances);
}

std::size_t Codebook::bytes() const noexcept {
    std::size_t total = held_bytes(mean_) + held_bytes(leading_rows_) + held_bytes(points_) +
                        held_bytes(group_ends_);
    for (const Stretch& stretch : stretches_) {
        total += stretch.rows.capacity() * sizeof(float) + stretch.rounded.bytes();
    }
    return total;
}

void Codebook::round_axes() {
    for (Stretch& stretch : stretches_) {
        stretch.rounded.set(stretch.rows.data(), stretch.axes, stretch.dims);
    }
}

void Codebook::centre(const float* vector, CodeScratch& scratch) const {
    scratch.centred.resize(dim_);
    for (std::size_t i = 0; i < dim_; ++i) scratch.centred[i] = vector[i] - mean_[i];
}

void Codebook::split(float* centred, float* along) const {
    const float* const end = leading_rows_.data() + leading_rows_.size();
    for (const float* axis = leading_rows_.data(); axis != end; axis += dim_, ++along) {
        dots(centred, axis, dim_, 1, dim_, along);
        for (std::size_t i = 0; i < dim_; ++i) centred[i] -= *along * axis[i];
    }
}

void Codebook::project(const float* centred, float* out) const {
    for (const Stretch& stretch : stretches_) {
        dots(centred + stretch.first, stretch.rows.data(), stretch.dims, stretch.axes, stretch.dims,
             out);
        out += stretch.axes;
    }
}

Code Codebook::encode(const float* vector, std::uint8_t* code, CodeScratch& scratch) const {
    constexpr float kLargest = 32767.0f, kMostFactor = 65504.0f;  // of int16, of float16
    constexpr double kMostSaid = 16.0;  // by which a code's point may be short of a vector
    centre(vector, scratch);
    std::memset(code, 0, code_bytes());
    float along[kMaxLeading];
    split(scratch.centred.data(), along);
    double leading_bias = 0.0;
    const std::size_t leading = this->leading();
    for (std::size_t a = 0; a < leading; ++a, code += sizeof(std::int16_t)) {
        const float wanted = along[a] / leading_unit_;
        const auto steps =
            static_cast<std::int16_t>(std::lrint(std::clamp(wanted, -kLargest, kLargest)));
        std::memcpy(code, &steps, sizeof(steps));
        const double kept =
            std::fabs(wanted) <= kLargest ? static_cast<double>(steps) * leading_unit_ : along[a];
        leading_bias += double{along[a]} * (2.0 * kept - along[a]);
    }
    const double rest2 = squared_length(scratch.centred);
    const double length = metric_ == Metric::l2 ? std::sqrt(rest2) : 1.0;
    scratch.projected.resize(axes());
    project(scratch.centred.data(), scratch.projected.data());
    if (length > 0.0) {
        for (float& x : scratch.projected) x = static_cast<float>(x / length);
    }
    double share = 0.0;  // <the rest, its code's point> / length
    std::size_t first = 0;
    for (std::size_t g = 0; g < groups_; ++g) {
        const float* points = points_.data() + first * kGroupPoints;
        const std::size_t own = group_ends_[g] - first;
        const std::size_t k = nearest_point(points, scratch.projected.data() + first, own);
        for (std::size_t a = 0; a < own; ++a) {
            share += double{scratch.projected[first + a]} * points[a * kGroupPoints + k];
        }
        code[g / 2] = static_cast<std::uint8_t>(code[g / 2] | k << (g % 2 * 4));
        first = group_ends_[g];
    }
    // As RaBitQ has it (Gao and Long 2024), estimates are right for what lies along the vector; and
    // they are exact for a query that is the vector itself, so that their errors grow with the
    // query's distance from it.
    if (metric_ != Metric::l2) {
        const double factor = share > 0.0 ? std::clamp(rest2 / share, 1.0, kMostSaid) : 1.0;
        return {simd::float_to_half(static_cast<float>(factor)), 0.0f};
    }
    // What lies beyond all that training saw is said less exactly, and never to be nearer than it
    // is: a walk would end at it.
    const bool is_said = share > 1.0 / kMostSaid;
    const double factor =
        2.0 * length * (is_said ? std::max(1.0 / share, 1.0) : 1.0) / factor_unit_;
    const std::uint16_t half =
        simd::float_to_half(std::min(static_cast<float>(factor), kMostFactor));
    const double kept = double{simd::half_to_float(half)} * factor_unit_;
    const bool holds = is_said && factor <= double{kMostFactor};
    return {half,
            static_cast<float>(leading_bias + (holds ? kept * share * length - rest2 : rest2))};
}

WalkQuery Codebook::query(const float* vector, const WalkKernels& kernels,
                          CodeScratch& scratch) const {
    scratch.projected.resize(axes());
    const float* from = vector;
    float along[kMaxLeading];
    float rest2 = 0.0f;
    if (metric_ == Metric::l2) {
        centre(vector, scratch);
        split(scratch.centred.data(), along);
        from = scratch.centred.data();
        dots(from, from, dim_, 1, dim_, &rest2);
    }
    // In few dimensions rounding tells more, and saves nothing.
    if (constexpr std::size_t kFew = 64; dim_ <= kFew) {
        project(from, scratch.projected.data());
    } else {
        float* out = scratch.projected.data();
        for (const Stretch& stretch : stretches_) {
            stretch.rounded.project(kernels, from + stretch.first, scratch.axes, out);
            out += stretch.axes;
        }
    }
    if (scratch.tables.size() < groups_ * kGroupBytes) scratch.tables.resize(groups_ * kGroupBytes);
    WalkQuery query = kernels.tabulate(scratch.projected.data(), points_.data(), group_ends_.data(),
                                       groups_, scratch.tables.data());
    if (metric_ != Metric::l2) return query;
    query.step *= factor_unit_;
    query.offset *= factor_unit_;
    // |x - q|^2 less what the codes say: -2 <x, q> along the leading axes, and |q|^2. What rounding
    // a weight does to a vector like the query is taken off again.
    const std::size_t leading = this->leading();
    double norm2 = rest2;
    float weights[kMaxLeading], widest = 0.0f;
    for (std::size_t a = 0; a < leading; ++a) {
        weights[a] = -2.0f * along[a] * leading_unit_;
        widest = std::max(widest, std::fabs(weights[a]));
    }
    query.unit = widest / static_cast<float>(kMostWeight);
    for (std::size_t a = 0; a < leading; ++a) {
        const float steps = query.unit > 0.0f ? weights[a] / query.unit : 0.0f;
        query.weights[a] = static_cast<std::int16_t>(std::lrint(
            std::clamp(steps, static_cast<float>(-kMostWeight), static_cast<float>(kMostWeight))));
        norm2 +=
            double{along[a]} * along[a] +
            (double{weights[a]} - double{query.unit} * query.weights[a]) * along[a] / leading_unit_;
    }
    query.shift = static_cast<float>(norm2);
    return query;
}

}  // namespace llmspell::index
