#include "index/reach.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace llmspell::index {

void Reach::start(float least) {
    clear();
    if (relative_) least_ = std::max(least, 1e-30f);
}

float Reach::unit(float key) const noexcept { return relative_ ? std::max(key, least_) : 1.0f; }

void Reach::add_walk(std::span<const float> estimates, std::span<const float> errors) {
    const std::size_t most = walks_++ == 0 ? kRanks : ranks_.size();
    ranks_.resize(std::min(most, estimates.size()));
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
        ranks_[i] += relative_ ? std::log(unit(estimates[i])) : estimates[i];
    }
    // What all estimates of a query are off by makes no difference.
    const double count = static_cast<double>(errors.size());
    const double mean = std::accumulate(errors.begin(), errors.end(), 0.0) / std::max(count, 1.0);
    for (const float error : errors) {
        const double off = (error - mean) / unit(estimates.front());
        error2_ += off * off;
    }
    errors_ += count;
}

void Reach::finish() {
    for (double& key : ranks_) key /= static_cast<double>(walks_);
    if (errors_ > 0.0) error2_ /= errors_;
    if (ranks_.size() < 2) clear();
}

// Beyond the last rank that was looked at, keys grow with the logarithm of the rank.
double Reach::at_rank(double rank) const {
    const double last = static_cast<double>(ranks_.size());
    if (rank <= last) return ranks_[static_cast<std::size_t>(rank) - 1];
    const double octave = ranks_.back() - ranks_[(ranks_.size() + 1) / 2 - 1];
    return ranks_.back() + octave * std::log2(rank / last);
}

WalkReach Reach::at(std::size_t k, std::size_t ef) const {
    // A node that is not expanded may still be among the nearest, for its estimate is off.
    constexpr double kErrors = 1.5, kShare = 0.5;
    double further =
        at_rank(static_cast<double>(std::max(k, ef))) - at_rank(static_cast<double>(k));
    if (relative_) further = std::expm1(further);
    WalkReach reach;
    reach.rank = k - 1;
    reach.expanded = static_cast<float>(further);
    reach.kept =
        static_cast<float>(std::max(further, kShare * further + kErrors * std::sqrt(error2_)));
    reach.slope = relative_ ? 1.0f : 0.0f;
    reach.least = least_;
    if (relative_) reach.lowest = 0.0f;
    return reach;
}

}  // namespace llmspell::index
