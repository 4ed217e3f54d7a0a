// What a codebook is made of for the vectors at hand.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "index/codebook.hpp"
#include "index/division.hpp"
#include "index/dots.hpp"
#include "index/principal.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kMaxAxes = 512;    // looked for in a stretch
constexpr std::size_t kLooked = 64;      // vectors of a sample whose nearest are looked for
constexpr std::size_t kMeasured = 1024;  // and whose rests are measured

std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

std::vector<std::size_t> evenly(std::size_t count, std::size_t most) {
    std::vector<std::size_t> out(std::min(count, most));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = i * count / out.size();
    return out;
}

// Of vectors that stand evenly in a sample the squared distances to the nearest that aren't equal
// to them, infinity where there is none.
std::vector<double> nearest_distances(std::span<const float> sample, std::size_t dim,
                                      std::span<const std::size_t> looked) {
    const auto& kernel = simd::active().l2[static_cast<std::size_t>(simd::ElementType::f32)];
    const std::size_t count = sample.size() / dim;
    std::vector<float> distances(count);
    std::vector<double> nearest;
    for (const std::size_t i : looked) {
        kernel.batch(&sample[i * dim], sample.data(), dim * sizeof(float), nullptr, count, dim,
                     distances.data());
        double least = std::numeric_limits<double>::infinity();
        for (const float d : distances) {
            if (d > 0.0f) least = std::min(least, static_cast<double>(d));
        }
        nearest.push_back(least);
    }
    return nearest;
}

// Puts items of the given sizes into bins, the largest first into the emptiest; an item's bin.
std::vector<std::size_t> pack_evenly(std::span<const double> sizes, std::size_t bins) {
    std::vector<double> load(bins);
    std::vector<std::size_t> order(sizes.size()), bin(sizes.size());
    if (bins == 0) return bin;
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
    for (const std::size_t item : order) {
        const auto least = std::min_element(load.begin(), load.end());
        *least += sizes[item];
        bin[item] = static_cast<std::size_t>(least - load.begin());
    }
    return bin;
}

}  // namespace

std::size_t Codebook::sample_size() const noexcept {
    constexpr std::size_t kNumbers = std::size_t{1} << 22;
    return std::clamp<std::size_t>(kNumbers / dim_, 1024, 8192);
}

void Codebook::train(std::vector<float> sample) {
    const std::size_t count = sample.size() / dim_;
    std::vector<double> sum(dim_);
    for (std::size_t i = 0; i < sample.size(); ++i) sum[i % dim_] += sample[i];
    mean_.resize(dim_);
    for (std::size_t j = 0; j < dim_; ++j) {
        mean_[j] = static_cast<float>(sum[j] / static_cast<double>(count));
    }
    for (std::size_t i = 0; i < sample.size(); ++i) sample[i] -= mean_[i % dim_];
    choose_axes(sample);
    factor_unit_ = 1.0f;
    if (metric_ == Metric::l2) scale_rests(sample);
    std::vector<float> projected(count * axes());
    for (std::size_t i = 0; i < count; ++i)
        project(sample.data() + i * dim_, projected.data() + i * axes());
    choose_points(projected);
    round_axes();
}

// Leaves of centred vectors their rests, of length 1, and chooses units for what else they say.
void Codebook::scale_rests(std::span<float> centred) {
    constexpr float kRoom = 1.25f;  // for coordinates beyond those of the sample
    const std::size_t count = centred.size() / dim_;
    const std::size_t leading = this->leading();
    float widest = 0.0f;
    std::vector<double> lengths;
    float along[kMaxLeading];
    for (std::size_t i = 0; i < count; ++i) {
        const std::span<float> vector = centred.subspan(i * dim_, dim_);
        const double whole2 = squared_length(vector);
        split(vector.data(), along);
        for (std::size_t a = 0; a < leading; ++a) widest = std::max(widest, std::fabs(along[a]));
        const double rest2 = squared_length(vector);
        const bool is_noise = !(rest2 > kNoise * whole2);
        const double length = std::sqrt(rest2);
        for (float& x : vector) x = is_noise ? 0.0f : static_cast<float>(x / length);
        if (!is_noise) lengths.push_back(length);
    }
    leading_unit_ = std::max(kRoom * widest / std::numeric_limits<std::int16_t>::max(),
                             std::numeric_limits<float>::min());
    if (lengths.empty()) return;
    const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
    std::nth_element(lengths.begin(), middle, lengths.end());
    factor_unit_ = std::max(static_cast<float>(*middle), std::numeric_limits<float>::min());
}

// The coordinates of some vectors of a sample along all axes, (vectors, axes).
std::vector<float> Codebook::coordinates(std::span<const float> sample,
                                         std::span<const std::size_t> vectors,
                                         std::span<const PrincipalAxes> found) const {
    std::vector<float> out;
    for (const std::size_t i : vectors) {
        for (std::size_t s = 0; s < found.size(); ++s) {
            const std::size_t at = out.size(), own = found[s].variances.size();
            out.resize(at + own);
            const Stretch stretch = stretch_at(s);
            dots(&sample[i * dim_ + stretch.first], found[s].axes.data(), stretch.dims, own,
                 stretch.dims, out.data() + at);
        }
    }
    return out;
}

// Notes how near vectors lie, too.
Division Codebook::divide_sample(std::span<const float> sample,
                                 std::span<const PrincipalAxes> found) {
    const std::size_t count = sample.size() / dim_;
    std::vector<double> variances;
    for (const PrincipalAxes& axes : found) {
        variances.insert(variances.end(), axes.variances.begin(), axes.variances.end());
    }
    std::vector<std::size_t> measured = evenly(count, kLooked);
    const std::vector<double> nearest = nearest_distances(sample, dim_, measured);
    nearest_ = static_cast<float>(lower_eighth(nearest));
    if (metric_ != Metric::l2) {
        return divide(variances, squared_length(sample) / static_cast<double>(count), nearest);
    }
    const std::vector<std::size_t> more = evenly(count, kMeasured);
    measured.insert(measured.end(), more.begin(), more.end());
    std::vector<double> squared;
    for (const std::size_t i : measured) {
        squared.push_back(squared_length(sample.subspan(i * dim_, dim_)));
    }
    return divide_rests(variances, coordinates(sample, measured, found), squared, nearest);
}

// Decides which axes stand apart, how many groups there are, and which axes are in each.
void Codebook::choose_axes(std::span<const float> sample) {
    const std::size_t count = sample.size() / dim_;
    std::vector<PrincipalAxes> found;
    for (std::size_t first = 0; first < dim_; first += kMaxStretch) {
        const std::size_t dims = std::min(kMaxStretch, dim_ - first);
        found.push_back(principal_axes(sample.data() + first, dim_, count, dims, kMaxAxes));
    }
    const Division division = divide_sample(sample, found);
    const std::size_t groups = division.groups;
    leading_rows_.assign(division.leading.size() * dim_, 0.0f);
    stretches_.clear();
    group_ends_.clear();
    double owed = 0.0;  // bits that no whole group has covered yet
    std::size_t at = 0;
    for (std::size_t s = 0; s < found.size(); ++s) {
        const std::span<const double> shares(division.bits.data() + at, found[s].variances.size());
        Stretch stretch = stretch_at(s);
        for (std::size_t a = 0; a < division.leading.size(); ++a) {
            const std::size_t axis = division.leading[a] - at;  // of those of this stretch
            if (axis >= shares.size()) continue;
            std::copy_n(&found[s].axes[axis * stretch.dims], stretch.dims,
                        &leading_rows_[a * dim_ + stretch.first]);
        }
        at += shares.size();
        owed += std::accumulate(shares.begin(), shares.end(), 0.0);
        const auto used = static_cast<std::size_t>(
            std::count_if(shares.begin(), shares.end(), [](double share) { return share > 0.0; }));
        const std::size_t own_groups = std::min(
            {static_cast<std::size_t>(owed / kGroupBits + 0.5), used, groups - group_ends_.size()});
        owed -= kGroupBits * static_cast<double>(own_groups);
        const std::vector<std::size_t> group = pack_evenly(shares, own_groups);
        const std::size_t before = axes();
        for (std::size_t g = 0; g < own_groups; ++g) {
            for (std::size_t i = 0; i < shares.size(); ++i) {
                if (group[i] != g || shares[i] <= 0.0) continue;
                const float* axis = &found[s].axes[i * stretch.dims];
                stretch.rows.insert(stretch.rows.end(), axis, axis + stretch.dims);
                ++stretch.axes;
            }
            group_ends_.push_back(static_cast<std::uint32_t>(before + stretch.axes));
        }
        if (stretch.axes > 0) stretches_.push_back(std::move(stretch));
    }
    groups_ = std::max(round_up(group_ends_.size(), kGroupsStep), kGroupsStep);
    group_ends_.resize(groups_, static_cast<std::uint32_t>(axes()));  // the last may have no axes
}

// Lloyd's k-means in each group, from vectors that stand evenly in the sample.
void Codebook::choose_points(std::span<const float> projected) {
    constexpr int kRounds = 8;
    const std::size_t width = axes(), count = width == 0 ? 0 : projected.size() / width;
    points_.assign(width * kGroupPoints, 0.0f);
    std::size_t first = 0;
    std::vector<double> sums;
    for (const std::uint32_t end : group_ends_) {
        const std::size_t own = end - first;
        float* points = points_.data() + first * kGroupPoints;
        for (std::size_t k = 0; k < kGroupPoints && own > 0; ++k) {
            const float* chosen = projected.data() + k * count / kGroupPoints * width + first;
            for (std::size_t a = 0; a < own; ++a) points[a * kGroupPoints + k] = chosen[a];
        }
        for (int round = 0; round < kRounds && own > 0; ++round) {
            std::size_t members[kGroupPoints] = {};
            sums.assign(own * kGroupPoints, 0.0);
            for (std::size_t i = 0; i < count; ++i) {
                const float* vector = projected.data() + i * width + first;
                const std::size_t k = nearest_point(points, vector, own);
                ++members[k];
                for (std::size_t a = 0; a < own; ++a) sums[a * kGroupPoints + k] += vector[a];
            }
            for (std::size_t i = 0; i < own * kGroupPoints; ++i) {
                const std::size_t n = members[i % kGroupPoints];
                if (n > 0) points[i] = static_cast<float>(sums[i] / static_cast<double>(n));
            }
        }
        first = end;
    }
}

}  // namespace llmspell::index
