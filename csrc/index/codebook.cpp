#include "index/codebook.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "index/principal.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kMaxStretch = 1024;
constexpr std::size_t kMaxAxes = 512;  // looked for in a stretch
constexpr double kGroupBits = 4.0;
constexpr double kAxesShare = 2.7;  // axes for each group, at most
// What the best code of its length would leave of a vector, in squared distances between vectors
// and their nearest: what is wanted is told apart from what lies beside it. With this, a walk on
// real embeddings reads about as much as it would with half or twice the groups: fewer, longer
// rows, or more of shorter ones.
constexpr double kLeft = 0.226;

std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

// Bits for each of several variances, so that `bits` in all leave least of their sum: all is cut
// down to one level (reverse water-filling; Cover and Thomas, "Elements of Information Theory").
std::vector<double> share_bits(std::span<const double> variances, double bits) {
    std::vector<double> out(variances.size());
    double low = 0.0, high = 0.0;  // of the logarithm of what is cut off
    for (const double v : variances) {
        if (v <= 0.0) continue;
        high = std::max(high, std::log2(v));
        low = std::min(low, std::log2(v));
    }
    low -= 2.0 * bits;
    for (int step = 0; step < 60; ++step) {
        const double level = 0.5 * (low + high);
        double sum = 0.0;
        for (std::size_t i = 0; i < out.size(); ++i) {
            const double v = variances[i];
            out[i] = v > 0.0 ? std::max(0.0, 0.5 * (std::log2(v) - level)) : 0.0;
            sum += out[i];
        }
        (sum > bits ? low : high) = level;
    }
    return out;
}

double left_by(std::span<const double> variances, std::span<const double> bits) {
    double left = 0.0;
    for (std::size_t i = 0; i < bits.size(); ++i) left += variances[i] * std::exp2(-2.0 * bits[i]);
    return left;
}

// How near vectors of a sample lie to others that aren't equal to them, where they lie closely: the
// lower eighth of their squared distances.
double nearest_distance(std::span<const float> sample, std::size_t dim) {
    constexpr std::size_t kLooked = 64;
    const auto& kernel = simd::active().l2[static_cast<std::size_t>(simd::ElementType::f32)];
    const std::size_t count = sample.size() / dim;
    std::vector<float> distances(count);
    std::vector<double> nearest;
    for (std::size_t i = 0; i < std::min(count, kLooked); ++i) {
        const float* vector = &sample[i * count / std::min(count, kLooked) * dim];
        kernel.batch(vector, sample.data(), dim * sizeof(float), nullptr, count, dim,
                     distances.data());
        double least = std::numeric_limits<double>::infinity();
        for (const float d : distances) {
            if (d > 0.0f) least = std::min(least, static_cast<double>(d));
        }
        if (std::isfinite(least)) nearest.push_back(least);
    }
    if (nearest.empty()) return 0.0;
    const auto eighth = nearest.begin() + static_cast<std::ptrdiff_t>(nearest.size() / 8);
    std::nth_element(nearest.begin(), eighth, nearest.end());
    return *eighth;
}

// The least number of groups that leaves as little as wanted of vectors whose variance is `total`.
std::size_t groups_for(std::span<const double> variances, double total, double wanted) {
    const double missed = total - std::accumulate(variances.begin(), variances.end(), 0.0);
    std::size_t groups = kGroupsStep;
    for (; groups < kMaxGroups; groups += kGroupsStep) {
        const auto bits = share_bits(variances, kGroupBits * static_cast<double>(groups));
        if (missed + left_by(variances, bits) <= wanted) break;
    }
    return groups;
}

// All but the `count` largest as 0: axes of little variance cost a query more than they tell it.
std::vector<double> most_varying(std::vector<double> variances, std::size_t count) {
    std::vector<double> ordered = variances;
    std::sort(ordered.rbegin(), ordered.rend());
    const double least = ordered.size() > count ? ordered[count] : 0.0;
    for (double& v : variances) v = v > least ? v : 0.0;
    return variances;
}

// Puts items of the given sizes into bins, the largest first into the emptiest; an item's bin.
std::vector<std::size_t> pack_evenly(std::span<const double> sizes, std::size_t bins) {
    std::vector<double> load(bins);
    std::vector<std::size_t> order(sizes.size()), bin(sizes.size());
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

// The nearest of a group's points, whose coordinates stand 16 for each of its axes.
std::size_t nearest_point(const float* points, const float* projected, std::size_t axes) {
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

}  // namespace

std::size_t Codebook::sample_size() const noexcept {
    constexpr std::size_t kNumbers = std::size_t{1} << 22;
    return std::clamp<std::size_t>(kNumbers / dim_, 1024, 8192);
}

std::size_t Codebook::bytes() const noexcept {
    std::size_t total =
        (mean_.capacity() + points_.capacity() + group_ends_.capacity()) * sizeof(float);
    for (const Stretch& stretch : stretches_) {
        total += stretch.rows.capacity() * sizeof(float) + stretch.rounded.bytes();
    }
    return total;
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
    std::vector<float> projected(count * axes());
    for (std::size_t i = 0; i < count; ++i)
        project(sample.data() + i * dim_, projected.data() + i * axes());
    choose_points(projected);
    round_axes();
}

// Decides how many groups there are, and which axes are in each.
void Codebook::choose_axes(std::span<const float> sample) {
    const std::size_t count = sample.size() / dim_;
    std::vector<PrincipalAxes> found;
    std::vector<double> variances;
    for (std::size_t first = 0; first < dim_; first += kMaxStretch) {
        const std::size_t dims = std::min(kMaxStretch, dim_ - first);
        found.push_back(principal_axes(sample.data() + first, dim_, count, dims, kMaxAxes));
        const std::vector<double>& own = found.back().variances;
        variances.insert(variances.end(), own.begin(), own.end());
    }
    double total = 0.0;
    for (const float x : sample) total += static_cast<double>(x) * x;
    const double nearest = nearest_distance(sample, dim_);
    nearest_ = static_cast<float>(nearest);
    const std::size_t groups =
        groups_for(variances, total / static_cast<double>(count), kLeft * nearest);

    const std::vector<double> bits = share_bits(
        most_varying(variances, static_cast<std::size_t>(static_cast<double>(groups) * kAxesShare)),
        kGroupBits * static_cast<double>(groups));
    stretches_.clear();
    group_ends_.clear();
    double owed = 0.0;  // bits that no whole group has covered yet
    std::size_t at = 0;
    for (std::size_t s = 0; s < found.size(); ++s) {
        const std::span<const double> shares(bits.data() + at, found[s].variances.size());
        at += shares.size();
        owed += std::accumulate(shares.begin(), shares.end(), 0.0);
        const auto used = static_cast<std::size_t>(
            std::count_if(shares.begin(), shares.end(), [](double share) { return share > 0.0; }));
        const std::size_t own_groups = std::min(
            {static_cast<std::size_t>(owed / kGroupBits + 0.5), used, groups - group_ends_.size()});
        owed -= kGroupBits * static_cast<double>(own_groups);
        Stretch stretch(s * kMaxStretch, std::min(kMaxStretch, dim_ - s * kMaxStretch));
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

void Codebook::round_axes() {
    for (Stretch& stretch : stretches_) {
        stretch.rounded.set(stretch.rows.data(), stretch.axes, stretch.dims);
    }
}

void Codebook::project(const float* centred, float* out) const {
    const auto& kernel = simd::active().ip[static_cast<std::size_t>(simd::ElementType::f32)];
    for (const Stretch& stretch : stretches_) {
        kernel.batch(centred + stretch.first, stretch.rows.data(), stretch.dims * sizeof(float),
                     nullptr, stretch.axes, stretch.dims, out);
        out += stretch.axes;
    }
}

Code Codebook::encode(const float* vector, std::uint8_t* code, CodeScratch& scratch) const {
    scratch.centred.resize(dim_);
    scratch.projected.resize(axes());
    double norm2 = 0.0;
    for (std::size_t i = 0; i < dim_; ++i) {
        scratch.centred[i] = vector[i] - mean_[i];
        norm2 += static_cast<double>(scratch.centred[i]) * scratch.centred[i];
    }
    project(scratch.centred.data(), scratch.projected.data());
    std::memset(code, 0, code_bytes());
    double along = 0.0, point2 = 0.0;  // <the vector, its code's point>, and |the point|^2
    std::size_t first = 0;
    for (std::size_t g = 0; g < groups_; ++g) {
        const float* points = points_.data() + first * kGroupPoints;
        const std::size_t own = group_ends_[g] - first;
        const std::size_t k = nearest_point(points, scratch.projected.data() + first, own);
        for (std::size_t a = 0; a < own; ++a) {
            const double point = points[a * kGroupPoints + k];
            along += scratch.projected[first + a] * point;
            point2 += point * point;
        }
        code[g / 2] = static_cast<std::uint8_t>(code[g / 2] | k << (g % 2 * 4));
        first = group_ends_[g];
    }
    // Estimates are exact for a query that is the vector itself: their errors then grow with the
    // query's distance from it, and are small where vectors lie closely together far from the mean.
    if (metric_ == Metric::l2) {
        return {-1.0f, static_cast<float>(2.0 * along - norm2 - point2)};
    }
    const double factor = along > 0.0 ? std::clamp(norm2 / along, 1.0, 16.0) : 1.0;
    return {static_cast<float>(factor), 0.0f};
}

WalkQuery Codebook::query(const float* vector, const WalkKernels& kernels,
                          CodeScratch& scratch) const {
    scratch.projected.resize(axes());
    const float* from = vector;
    if (metric_ == Metric::l2) {
        scratch.centred.resize(dim_);
        for (std::size_t i = 0; i < dim_; ++i) scratch.centred[i] = vector[i] - mean_[i];
        from = scratch.centred.data();
    }
    float* out = scratch.projected.data();
    for (const Stretch& stretch : stretches_) {
        stretch.rounded.project(kernels, from + stretch.first, scratch.axes, out);
        out += stretch.axes;
    }
    if (scratch.tables.size() < groups_ * kGroupBytes) scratch.tables.resize(groups_ * kGroupBytes);
    return tabulate(std::numeric_limits<float>::infinity(), kernels, scratch);
}

WalkQuery Codebook::tabulate(float limit, const WalkKernels& kernels, CodeScratch& scratch) const {
    const auto make = metric_ == Metric::l2 ? kernels.tabulate_squares : kernels.tabulate_products;
    return make(scratch.projected.data(), points_.data(), group_ends_.data(), groups_, limit,
                scratch.tables.data());
}

WalkQuery Codebook::narrowed(float distance, const WalkKernels& kernels,
                             CodeScratch& scratch) const {
    return tabulate(std::max(distance, nearest_), kernels, scratch);
}

}  // namespace llmspell::index
