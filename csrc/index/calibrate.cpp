// How Index measures the recall of its walks, and settles how wide one must be.
//
// Queries are recent ones where enough came in, else stored vectors. Those would be far too easy as
// they are, for their links lead to their neighbours: walks pass by the node, as if nobody had
// stored it. What is left errs on the high side, since its neighbours still keep a link to it.
//
// Locks are taken for some milliseconds at a time, so that a change waits no longer. One that comes
// between moves the figures by as little as it moves the index, for what counts is how near the
// vectors found are.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "base/parallel.hpp"
#include "base/random.hpp"
#include "index/access.hpp"
#include "index/calibration.hpp"
#include "index/index.hpp"

namespace llmspell::index {
namespace {

constexpr std::size_t kMinSample = 256, kMaxSample = 1024;
constexpr std::size_t kMaxDistances = std::size_t{1} << 28;  // of all sweeps: some seconds
constexpr double kWider = 1.4;               // from one point of a curve to the next
constexpr double kMostShown = 0.998;         // by kMaxSample queries
constexpr double kGoesTo = 0.99;             // that a curve tells of at least
constexpr double kFresh = 0.1, kGone = 0.5;  // share of the vectors that has changed
constexpr std::uint64_t kEnoughAsked = 256;  // queries that came in, to measure with them alone
constexpr std::uint64_t kAnew = 4;           // times as many as before make it measure anew

RecallPoint summary(std::size_t ef, const std::vector<double>& recalls) {
    const auto count = static_cast<double>(recalls.size());
    double sum = 0.0, squares = 0.0;
    for (const double recall : recalls) sum += recall;
    for (const double recall : recalls) squares += (recall - sum / count) * (recall - sum / count);
    // What none of so many queries shows may still be so for one.
    return {ef, sum / count, std::sqrt(squares) / count + 1.0 / count};
}

// Fewer queries don't show a recall even if all is found: one in their number counts as missed, one
// and a half times.
std::size_t showing(double target) {
    constexpr double kMissed = 2.0;
    return static_cast<std::size_t>(std::ceil(kMissed / (1.0 - std::min(target, kMostShown))));
}

std::size_t sample_for(double target, std::size_t vectors) {
    const std::size_t affordable = kMaxDistances / std::max<std::size_t>(vectors, 1);
    return std::clamp(std::max(affordable, 2 * showing(target)), kMinSample, kMaxSample);
}

std::size_t least_width(std::size_t k) { return std::max<std::size_t>(k + 1, 4); }

std::size_t wider(std::size_t ef) {
    return static_cast<std::size_t>(std::ceil(kWider * static_cast<double>(ef)));
}

// A sweep would be cheaper.
bool too_wide(std::size_t ef, std::size_t vectors) { return ef * kDistancesPerStep >= vectors; }

}  // namespace

// Queries, and how near the nearest of each are.
struct Index::Sample {
    std::size_t count = 0;
    bool stored = false;
    std::vector<std::byte> vectors;
    std::vector<Label> left_out;  // where stored
    std::vector<float> bounds;    // the k-th key, with a little more for rounding

    Slot self(const Storage& storage, std::size_t i) const {
        return stored ? storage.find(left_out[i]) : kNoSlot;
    }
};

// Calls part(first, last, context) for ranges of the sample, on threads, each under a lock.
template <class Part>
void Index::for_parts(const Sample& sample, unsigned threads, Watch* watch,
                      const Part& part) const {
    constexpr std::size_t kAtOnce = 8;
    parallel_for((sample.count + kAtOnce - 1) / kAtOnce, threads,
                 [this] { return Borrowed(*this); },
                 [&](std::size_t i, Borrowed& context) {
                     const SharedLock lock(*this, watch);
                     if (watch != nullptr) watch->check();
                     part(i * kAtOnce, std::min((i + 1) * kAtOnce, sample.count), *context);
                 });
}

// A stored vector that walks pass by, as if nobody had stored it.
void Index::make_query(std::size_t i, Sample& sample) const {
    SplitMix64 random(params_.seed ^ (i * 0x9e3779b97f4a7c15));
    // Nodes of the upper layers are where walks start, and can't be passed by.
    auto slot = static_cast<Slot>(random() % storage_.slots());
    for (std::size_t left = storage_.slots(); left > 0; --left) {
        if (storage_.is_live(slot) && graph_.contains(slot) && graph_.level(slot) == 0) break;
        slot = static_cast<Slot>((slot + 1) % storage_.slots());
    }
    storage_.quantiser().decode(storage_.checked_row(slot),
                                sample.vectors.data() + i * storage_.quantiser().vector_bytes());
    sample.left_out[i] = storage_.label(slot);
}

Index::Sample Index::draw_sample(double target, unsigned threads, Watch* watch) const {
    const std::size_t bytes = storage_.quantiser().vector_bytes();
    Sample sample;
    sample.vectors = calibration_.recent(bytes);
    sample.count = sample_for(target, size());
    sample.stored =
        sample.vectors.size() / bytes < std::max<std::size_t>(kEnoughAsked, showing(target));
    if (!sample.stored) {
        sample.count = std::min(sample.count, sample.vectors.size() / bytes);
        return sample;
    }
    sample.vectors.assign(sample.count * bytes, std::byte{0});
    sample.left_out.resize(sample.count);
    for_parts(sample, threads, watch, [&](std::size_t first, std::size_t last, SearchContext&) {
        for (std::size_t i = first; i < last && has_graph_; ++i) make_query(i, sample);
    });
    return sample;
}

// A few queries at a time share each block of rows while the CPU's cache holds it.
void Index::find_bounds(std::size_t k, Sample& sample, unsigned threads, Watch* watch) const {
    constexpr std::size_t kRows = 256;
    constexpr float kRounding = 1e-6f;
    const std::size_t bytes = storage_.quantiser().vector_bytes();
    sample.bounds.assign(sample.count, 0.0f);
    for_parts(sample, threads, watch, [&](std::size_t first, std::size_t last, SearchContext&) {
        std::vector<std::vector<std::byte>> scratch(last - first);
        std::vector<CandidatePool> nearest(last - first);
        std::vector<Query> queries;
        for (std::size_t i = first; i < last; ++i) {
            queries.push_back(
                storage_.quantiser().query(sample.vectors.data() + i * bytes, scratch[i - first]));
            nearest[i - first].reset(k);
        }
        float keys[kRows];
        for (std::size_t row = 0; row < storage_.slots(); row += kRows) {
            const std::size_t count = std::min(kRows, storage_.slots() - row);
            for (std::size_t i = first; i < last; ++i) {
                const Slot self = sample.self(storage_, i);
                CandidatePool& pool = nearest[i - first];
                storage_.keys_from(queries[i - first], static_cast<Slot>(row), count, keys);
                for (std::size_t j = 0; j < count; ++j) {
                    const Slot slot = static_cast<Slot>(row + j);
                    if (keys[j] < pool.bound() && storage_.is_live(slot) && slot != self) {
                        pool.insert(keys[j], slot);
                    }
                }
            }
        }
        for (std::size_t i = first; i < last; ++i) {
            const CandidatePool& pool = nearest[i - first];
            const float key = pool.size() == 0 ? std::numeric_limits<float>::infinity()
                                               : pool[pool.size() - 1].key;
            sample.bounds[i] = key + kRounding * std::abs(key);
        }
    });
}

RecallPoint Index::measure_point(std::size_t k, bool coded, std::size_t ef, const Sample& sample,
                                 unsigned threads, Watch* watch) const {
    const std::size_t bytes = storage_.quantiser().vector_bytes();
    std::vector<double> recalls(sample.count);
    for_parts(sample, threads, watch, [&](std::size_t first, std::size_t last, SearchContext& c) {
        for (std::size_t i = first; i < last; ++i) {
            const Slot self = sample.self(storage_, i);
            const Searcher searcher{storage_, has_graph_ ? &graph_ : nullptr,
                                    coded ? useful_codes() : nullptr, params_, self};
            const std::size_t wanted = k + (self == kNoSlot ? 0 : 1);
            Unwatched probe;
            const CandidatePool& pool =
                searcher.nearest(sample.vectors.data() + i * bytes, wanted, ef, nullptr, c, probe);
            std::size_t hits = 0;
            for (std::size_t at = 0; at < std::min(pool.size(), wanted); ++at) {
                hits += pool[at].key <= sample.bounds[i] && pool[at].slot != self ? 1 : 0;
            }
            recalls[i] = static_cast<double>(std::min(hits, k)) / static_cast<double>(k);
        }
    });
    return summary(ef, recalls);
}

RecallCurve Index::measure(std::size_t k, bool coded, double target, unsigned threads,
                           Watch* watch) const {
    RecallCurve curve;
    curve.k = k;
    curve.coded = coded;
    {
        const SharedLock lock(*this, watch);
        check_blocks();  // all are read
        curve.vectors = storage_.live();
        curve.version = storage_.version();
    }
    curve.recorded = calibration_.recorded();
    std::size_t ef = least_width(k);
    curve.exhausted = too_wide(ef, curve.vectors);
    if (curve.exhausted) return curve;
    Sample sample = draw_sample(target, threads, watch);
    (sample.stored ? curve.stored : curve.asked) = sample.count;
    find_bounds(k, sample, threads, watch);
    for (; !curve.exhausted; ef = wider(ef)) {
        curve.points.push_back(measure_point(k, coded, ef, sample, threads, watch));
        const RecallPoint& point = curve.points.back();
        if (point.recall >= kGoesTo && point.least() >= target) break;
        curve.exhausted = too_wide(wider(ef), curve.vectors);
    }
    return curve;
}

// Held off by whoever measures, but for no longer than the watch allows.
std::unique_lock<std::mutex> Index::wait_to_measure(const Watch* watch) const {
    std::unique_lock<std::mutex> lock(calibration_.measuring(), std::defer_lock);
    if (watch == nullptr || !watch->may_stop()) {
        lock.lock();
        return lock;
    }
    while (!lock.try_lock()) {
        watch->check();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return lock;
}

Index::Walks Index::walks(const Watch* watch) const {
    const SharedLock lock(*this, watch);
    return {has_graph_, has_graph_ && useful_codes() != nullptr, storage_.live(),
            storage_.version()};
}

void Index::calibrate(std::size_t k, double recall, unsigned threads, Watch* watch) const {
    const Walks walks = this->walks(watch);
    if (!walks.any || recall >= 1.0) return;
    const auto lock = wait_to_measure(watch);
    calibration_.set(
        measure(k_class(k), walks.coded, std::min(recall, kMostShown), threads, watch));
}

std::vector<CalibratedCurve> Index::calibration() const {
    const Walks walks = this->walks();
    std::vector<CalibratedCurve> curves;
    for (const auto& curve : calibration_.all()) {
        curves.push_back({*curve, curve->changed(walks.version)});
    }
    return curves;
}

void Index::adopt(RecallCurve curve, double changed) const {
    check_curve(curve, changed);
    const Walks walks = this->walks();
    if (!walks.any || (curve.coded && !walks.coded)) return;
    curve.version = walks.version;
    curve.before =
        static_cast<std::uint64_t>(std::llround(changed * static_cast<double>(curve.vectors)));
    // Queries of before are not here any more: a few times as many as are needed renew it.
    curve.recorded = std::min<std::uint64_t>(curve.asked, kEnoughAsked);
    curve.exhausted = too_wide(
        curve.points.empty() ? least_width(curve.k) : wider(curve.points.back().ef), curve.vectors);
    calibration_.set(std::move(curve));
}

std::optional<CurveKey> Index::curve_for(std::size_t k) const {
    const Walks walks = this->walks();
    if (!walks.any || sweeps_for(std::min(k, walks.live), walks.live)) return std::nullopt;
    return CurveKey{k_class(k), walks.coded};
}

SearchOptions Index::settled(const SearchOptions& asked) const {
    SearchOptions options = asked;
    if (asked.recall == 0.0) return options;
    options.exact = true;
    if (asked.recall > kMostShown) return options;
    const Walks walks = this->walks(asked.watch);
    if (!walks.any || sweeps_for(std::min(asked.k, walks.live), walks.live)) return options;
    const std::size_t k = k_class(asked.k);
    const bool coded = walks.coded;
    // Who has a deadline doesn't measure, and goes by an old curve.
    const bool may_stop = asked.watch != nullptr && asked.watch->may_stop();
    const auto usable = [&] {
        std::shared_ptr<const RecallCurve> curve = calibration_.find(k, coded);
        const bool holds = curve != nullptr &&
                           (may_stop || (curve->changed(walks.version) < kGone &&
                                         (curve->exhausted || curve->width_for(asked.recall))));
        return holds ? curve : nullptr;
    };
    const auto renew = [&] {
        calibration_.set(measure(k, coded, asked.recall, asked.threads, asked.watch));
        return calibration_.find(k, coded);
    };
    std::shared_ptr<const RecallCurve> curve = usable();
    if (may_stop) {
        if (curve == nullptr) return options;
    } else if (curve == nullptr) {
        const auto lock = wait_to_measure(asked.watch);
        curve = usable();
        if (curve == nullptr) curve = renew();
    } else if (is_due(*curve, walks.version)) {
        const std::unique_lock<std::mutex> lock(calibration_.measuring(), std::try_to_lock);
        if (lock.owns_lock() && is_due(*calibration_.find(k, coded), walks.version)) {
            curve = renew();
        }
    }
    // As many more are asked for as may have become hard to find.
    const double changed = curve->changed(walks.version);
    const double margin = changed < kFresh ? 0.0 : changed;
    if (const auto ef = curve->width_for(1.0 - (1.0 - asked.recall) * (1.0 - margin))) {
        options.exact = false;
        options.ef = *ef;
    }
    return options;
}

bool Index::is_due(const RecallCurve& curve, std::uint64_t version) const {
    return curve.changed(version) >= kFresh ||
           calibration_.recorded() >= std::max<std::uint64_t>(kEnoughAsked, kAnew * curve.recorded);
}

}  // namespace llmspell::index
