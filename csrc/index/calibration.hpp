// From the recall that a search asks for to the width of its walk: what was measured, on which
// queries, and how far the index has moved since. Index measures, this keeps.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "index/params.hpp"

namespace llmspell::index {

// The recall of walks of one width, averaged over the sample, and its standard error.
struct RecallPoint {
    std::size_t ef;
    double recall, error;

    // A margin of one error would be too low for one sample in six.
    double least() const noexcept { return recall - 1.5 * error; }
};

// What was measured for one k, and holds for fewer: the nearest are the easiest to find.
struct RecallCurve {
    std::size_t k = 0;
    bool coded = false;               // by codes; else by the vectors
    std::size_t stored = 0;           // queries that are stored vectors
    std::size_t asked = 0;            // queries that came in
    std::size_t vectors = 0;          // live when it was measured
    std::uint64_t version = 0;        // of the storage then, or when it was adopted
    std::uint64_t before = 0;         // changes until it was adopted
    std::uint64_t recorded = 0;       // queries recorded until then
    std::vector<RecallPoint> points;  // wider and wider
    bool exhausted = false;           // wider walks would cost more than a sweep

    // The least width whose recall, less its margin, is the target; none where there is no such
    // point. Between two points recall is taken
    // to grow with the logarithm of the width, which is less than it does.
    std::optional<std::size_t> width_for(double target) const;
    // The share of the vectors that has changed; one that is replaced counts two or three times.
    double changed(std::uint64_t now) const noexcept {
        // Measured since `now` was looked at, it is ahead of that.
        const std::uint64_t since = before + (now > version ? now - version : 0);
        return std::min(1.0, static_cast<double>(since) /
                                 static_cast<double>(std::max<std::size_t>(vectors, 1)));
    }
};

// Which curve tells of a search.
struct CurveKey {
    std::size_t k;
    bool coded;
};

struct CalibratedCurve {
    RecallCurve curve;
    double changed;
};

// The k that stands for all up to it since the one before: 1, 2, 5, 10, 20, 50 and so on.
std::size_t k_class(std::size_t k);

// Throws ErrorCode::input unless it is what a measurement can give.
void check_curve(const RecallCurve& curve, double changed);

// Curves and recent queries. Thread-safe.
class Calibration {
  public:
    static constexpr std::size_t kRecent = 1024;

    std::shared_ptr<const RecallCurve> find(std::size_t k, bool coded) const;
    std::vector<std::shared_ptr<const RecallCurve>> all() const;
    void set(RecallCurve curve);

    // Held while something is measured, so that it is not measured twice.
    std::mutex& measuring() noexcept { return measuring_; }

    // Records some of the queries that come in, once a curve is there: a quarter of them until
    // there are kRecent, then one in 64, by chance but the same each time. Never waits.
    void offer(const std::byte* queries, std::size_t count, std::size_t vector_bytes) {
        if (recording_.load(std::memory_order_relaxed)) record(queries, count, vector_bytes);
    }
    // One after the other, each once, however often it came in.
    std::vector<std::byte> recent(std::size_t vector_bytes) const;
    std::size_t bytes() const;  // of these
    std::uint64_t recorded() const noexcept { return recorded_.load(std::memory_order_relaxed); }

  private:
    void record(const std::byte* queries, std::size_t count, std::size_t vector_bytes);

    std::atomic<bool> recording_{false};
    std::atomic<std::uint64_t> seen_{0}, recorded_{0};
    std::mutex measuring_;
    mutable std::mutex mutex_;  // of all that follows
    std::vector<std::shared_ptr<const RecallCurve>> curves_;
    std::vector<std::byte> recent_;  // a ring of up to kRecent
};

}  // namespace llmspell::index
