// From the width of a walk to how far it goes. To expand the `ef` nearest by estimate, whatever
// their keys, spends as much on a query whose answers stand out as on one that has many at nearly
// the same distance. A walk goes instead as far beyond its k-th nearest as the ef-th is on average
// (compare Al-Jazzazi et al. 2025, arXiv:2505.15636): it takes as many steps on the whole, where
// they find more.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "index/params.hpp"
#include "index/walk.hpp"

namespace llmspell::index {

class Reach {
  public:
    static constexpr std::size_t kRanks = 512;  // that are looked at

    explicit Reach(Metric metric) : relative_(metric == Metric::l2) {}

    bool known() const noexcept { return !ranks_.empty(); }
    void clear() noexcept { *this = Reach(relative_ ? Metric::l2 : Metric::ip); }

    // Under l2 keys differ by shares of their own, but vectors nearer than `least` are alike.
    void start(float least);
    // What one walk found: its estimates, nearest first, and for some nodes by how much their
    // estimates are above their keys.
    void add_walk(std::span<const float> estimates, std::span<const float> errors);
    void finish();

    // For a walk that is to find the k nearest; k is at least 1.
    WalkReach at(std::size_t k, std::size_t ef) const;

    // For a snapshot. Reading is false where it holds what none writes.
    void write(std::vector<std::byte>& out) const;
    bool read(std::span<const std::byte>& in);

  private:
    float unit(float key) const noexcept;
    double at_rank(double rank) const;

    bool relative_;
    float least_ = 1.0f;
    std::vector<double> ranks_;  // mean keys in order, or their logarithms
    std::size_t walks_ = 0;
    double error2_ = 0.0;  // in units, about the mean of a walk
    double errors_ = 0.0;
};

}  // namespace llmspell::index
