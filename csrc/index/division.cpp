#include "index/division.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "index/walk.hpp"

namespace llmspell::index {
namespace {

// What the best code of its length would leave of a vector, in squared distances between vectors
// and their nearest: what is wanted is told apart from what lies beside it. With this, a walk on
// real embeddings reads about as much as it would with half or twice the groups: fewer, longer
// rows, or more of shorter ones.
constexpr double kLeft = 0.226;

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

// What is left where no axis makes use of more than `most` bits.
double left_by(std::span<const double> variances, std::span<const double> bits, double most) {
    double left = 0.0;
    for (std::size_t i = 0; i < bits.size(); ++i) {
        left += variances[i] * std::exp2(-2.0 * std::min(bits[i], most));
    }
    return left;
}

// The least number of groups that leaves as little as wanted of vectors whose variance is `total`.
std::size_t groups_for(std::span<const double> variances, double total, double wanted,
                       double most) {
    const double missed = total - std::accumulate(variances.begin(), variances.end(), 0.0);
    std::size_t groups = kGroupsStep;
    for (; groups < kMaxGroups; groups += kGroupsStep) {
        const auto bits = share_bits(variances, kGroupBits * static_cast<double>(groups));
        if (missed + left_by(variances, bits, most) <= wanted) break;
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

Division in_groups(std::vector<std::size_t> leading, std::span<const double> variances,
                   std::size_t groups) {
    const auto axes = static_cast<std::size_t>(static_cast<double>(groups) * kAxesPerGroup);
    const std::vector<double> counted = most_varying({variances.begin(), variances.end()}, axes);
    return {std::move(leading), share_bits(counted, kGroupBits * static_cast<double>(groups)),
            groups};
}

// What is left of vectors beside the axes that were taken off them.
class Rests {
  public:
    Rests(std::span<const float> along, std::span<const double> squared)
        : along_(along), whole_(squared), squared_(squared.begin(), squared.end()) {}

    std::size_t axes() const { return along_.size() / squared_.size(); }

    void take_off(std::size_t axis) {
        for (std::size_t i = 0; i < squared_.size(); ++i) {
            const double x = along_[i * axes() + axis];
            squared_[i] -= x * x;
            if (!(squared_[i] > kNoise * whole_[i])) squared_[i] = 0.0;
        }
    }

    bool any() const {
        return std::any_of(squared_.begin(), squared_.end(), [](double x) { return x > 0.0; });
    }

    // Of what is left, in units of its length.
    std::vector<double> variances(std::span<const std::size_t> taken_off) const {
        std::vector<double> out(axes());
        double counted = 0.0;
        for (std::size_t i = 0; i < squared_.size(); ++i) {
            if (!(squared_[i] > 0.0)) continue;
            counted += 1.0;
            for (std::size_t a = 0; a < out.size(); ++a) {
                const double x = along_[i * axes() + a];
                out[a] += x * x / squared_[i];
            }
        }
        for (double& v : out) v /= std::max(counted, 1.0);
        for (const std::size_t axis : taken_off) out[axis] = 0.0;
        return out;
    }

    double nearest(std::span<const double> distances) const {
        std::vector<double> scaled(distances.size());
        for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] = distances[i] / squared_[i];
        return lower_eighth(std::move(scaled));
    }

  private:
    std::span<const float> along_;
    std::span<const double> whole_;
    std::vector<double> squared_;
};

}  // namespace

double lower_eighth(std::vector<double> values) {
    std::erase_if(values, [](double v) { return !std::isfinite(v); });
    if (values.empty()) return 0.0;
    const auto eighth = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 8);
    std::nth_element(values.begin(), eighth, values.end());
    return *eighth;
}

Division divide(std::span<const double> variances, double total, std::span<const double> nearest) {
    const double wanted = kLeft * lower_eighth({nearest.begin(), nearest.end()});
    constexpr double kAny = std::numeric_limits<double>::infinity();
    return in_groups({}, variances, groups_for(variances, total, wanted, kAny));
}

Division divide_rests(std::span<const double> variances, std::span<const float> along,
                      std::span<const double> squared, std::span<const double> nearest) {
    std::vector<std::size_t> order(variances.size()), leading;
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return variances[a] > variances[b]; });
    Rests rests(along, squared);
    Division best;
    for (std::size_t shortest = 0;;) {
        const std::vector<double> left = rests.variances(leading);
        const std::size_t groups =
            groups_for(left, rests.any() ? 1.0 : 0.0, kLeft * rests.nearest(nearest), kGroupBits);
        const std::size_t bytes = leading.size() * sizeof(std::int16_t) + groups / 2;
        if (leading.empty() || bytes < shortest) {
            shortest = bytes;
            best = in_groups(leading, left, groups);
        }
        if (leading.size() == kMaxLeading || leading.size() + 2 > order.size()) return best;
        for (int i = 0; i < 2; ++i) {
            leading.push_back(order[leading.size()]);
            rests.take_off(leading.back());
        }
    }
}

}  // namespace llmspell::index
