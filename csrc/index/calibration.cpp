#include "index/calibration.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kMost = std::size_t{1} << 40;  // more than any index holds

}  // namespace

std::optional<std::size_t> RecallCurve::width_for(double target) const {
    for (std::size_t i = 0; i < points.size(); ++i) {
        if (points[i].least() < target) continue;
        if (i == 0) return points[0].ef;
        const double below = points[i - 1].least(), above = points[i].least();
        const double from = std::log(static_cast<double>(points[i - 1].ef));
        const double to = std::log(static_cast<double>(points[i].ef));
        const double share = (target - below) / (above - below);
        return std::min(points[i].ef,
                        static_cast<std::size_t>(std::ceil(std::exp(from + share * (to - from)))));
    }
    return std::nullopt;
}

std::size_t k_class(std::size_t k) {
    for (std::size_t decade = 1;; decade *= 10) {
        for (const std::size_t step : {1, 2, 5}) {
            if (k <= step * decade) return step * decade;
        }
    }
}

void check_curve(const RecallCurve& curve, double changed) {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw Error(ErrorCode::input, std::string("a recall curve's ") + what);
    };
    require(curve.k >= 1 && curve.k <= kMost && k_class(curve.k) == curve.k,
            "k must be 1, 2, 5, 10, 20, 50 or so on");
    require(changed >= 0.0 && changed <= 1.0, "changed must be from 0 to 1");
    require(curve.vectors >= 1 && curve.vectors <= kMost, "vectors must be at least 1");
    std::size_t least = 1;
    for (const RecallPoint& point : curve.points) {
        require(point.ef >= least && point.ef <= kMost, "widths must ascend from 1");
        require(point.recall >= 0.0 && point.recall <= 1.0, "recalls must be from 0 to 1");
        require(point.error >= 0.0 && point.error <= 1.0, "errors must be from 0 to 1");
        least = point.ef + 1;
    }
}

std::shared_ptr<const RecallCurve> Calibration::find(std::size_t k, bool coded) const {
    const std::lock_guard<std::mutex> guard(mutex_);
    for (const auto& curve : curves_) {
        if (curve->k == k && curve->coded == coded) return curve;
    }
    return nullptr;
}

std::vector<std::shared_ptr<const RecallCurve>> Calibration::all() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return curves_;
}

void Calibration::set(RecallCurve made) {
    auto curve = std::make_shared<const RecallCurve>(std::move(made));
    const std::lock_guard<std::mutex> guard(mutex_);
    std::erase_if(
        curves_, [&](const auto& old) { return old->k == curve->k && old->coded == curve->coded; });
    curves_.push_back(std::move(curve));
    std::sort(curves_.begin(), curves_.end(), [](const auto& a, const auto& b) {
        return a->coded != b->coded ? a->coded : a->k < b->k;
    });
    recording_ = true;
}

void Calibration::record(const std::byte* queries, std::size_t count, std::size_t vector_bytes) {
    constexpr std::uint64_t kOften = 4, kSeldom = 64;
    const std::uint64_t share = recorded() < kRecent ? kOften : kSeldom;
    const std::uint64_t first = seen_.fetch_add(count, std::memory_order_relaxed);
    for (std::size_t i = 0; i < count; ++i) {
        // By chance, since queries may come in turns.
        if (SplitMix64(first + i)() % share != 0) continue;
        const std::unique_lock<std::mutex> guard(mutex_, std::try_to_lock);
        if (!guard.owns_lock()) continue;
        const std::uint64_t number = recorded();
        const std::byte* query = queries + i * vector_bytes;
        if (number >= kRecent) {
            std::copy_n(query, vector_bytes, recent_.data() + number % kRecent * vector_bytes);
        } else {
            try {
                recent_.insert(recent_.end(), query, query + vector_bytes);
            } catch (const std::bad_alloc&) {
                return;  // the search goes on
            }
        }
        recorded_.store(number + 1, std::memory_order_relaxed);
    }
}

std::size_t Calibration::bytes() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return recent_.capacity();
}

std::vector<std::byte> Calibration::recent(std::size_t vector_bytes) const {
    std::vector<std::byte> all;
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        all = recent_;
    }
    std::vector<std::byte> each;
    std::unordered_set<std::string_view> seen;
    for (std::size_t at = 0; at < all.size(); at += vector_bytes) {
        const auto* begin = reinterpret_cast<const char*>(all.data() + at);
        if (!seen.insert({begin, vector_bytes}).second) continue;
        each.insert(each.end(), all.data() + at, all.data() + at + vector_bytes);
    }
    return each;
}

}  // namespace llmspell::index
