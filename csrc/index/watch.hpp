// What a search may be stopped by, and what it tells of itself.
//
// Searches are templates over a probe. Unwatched compiles to nothing; Watched counts, and looks at
// the clock and the token every kCheckInterval distances or so.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

namespace llmspell::index {

// Set by any thread, once and for all; the searches that hold it give up.
class CancelToken {
  public:
    void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
    bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  private:
    std::atomic<bool> cancelled_{false};
};

// Where an answer came from; mixed where the queries of a batch were answered in several ways.
enum class Strategy : std::uint8_t {
    none,
    exact,
    graph,
    filtered_graph,
    quantized,
    filtered_quantized,
    swept_codes,
    mixed
};

struct Counters {
    std::uint64_t visited = 0;    // nodes whose links were followed
    std::uint64_t estimated = 0;  // distances estimated from codes
    std::uint64_t distances = 0;  // computed from stored vectors
    std::uint64_t reranked = 0;   // nodes that a search by codes put in order by their vectors
    std::size_t width = 0;        // of the widest walk that gave an answer
    Strategy strategy = Strategy::none;
};

// One call, of one query or many; its threads share it.
class Watch {
  public:
    // The time, in seconds, is counted from here.
    explicit Watch(std::optional<double> timeout = {}, const CancelToken* token = nullptr);

    bool may_stop() const noexcept { return deadline_.has_value() || token_ != nullptr; }
    // Throws where the time is over or the token is set.
    void check() const;

    void add(const Counters& counters);
    Counters counters() const;

  private:
    using Clock = std::chrono::steady_clock;

    double timeout_ = 0.0;
    std::optional<Clock::time_point> deadline_;
    const CancelToken* token_;
    mutable std::mutex mutex_;
    Counters total_;
};

// The probe of a search that nobody watches.
struct Unwatched {
    void visited(std::size_t = 1) const noexcept {}
    void computed(std::size_t) const noexcept {}
    void estimated(std::size_t) const noexcept {}
    void reranked(std::size_t) const noexcept {}
    void used(Strategy, std::size_t = 0) const noexcept {}
    void poll() const noexcept {}
    void check() const noexcept {}
};

// The probe of one query of a call that is watched.
class Watched {
  public:
    static constexpr std::size_t kCheckInterval = 256;  // distances: some 10 to 50 microseconds

    explicit Watched(Watch& watch) : watch_(watch) { watch_.check(); }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;
    ~Watched() { watch_.add(counters_); }

    void visited(std::size_t nodes = 1) noexcept {
        counters_.visited += nodes;
        since_check_ += nodes * kVisitCost;
    }
    void computed(std::size_t distances) noexcept {
        counters_.distances += distances;
        since_check_ += distances;
    }
    void estimated(std::size_t codes) noexcept {
        counters_.estimated += codes;
        since_check_ += codes / kCodesPerDistance;
    }
    void reranked(std::size_t nodes) noexcept {
        counters_.reranked += nodes;
        counters_.distances += nodes;
    }
    void used(Strategy strategy, std::size_t width = 0) noexcept {
        counters_.strategy = strategy;
        counters_.width = width;
    }

    // May throw: for where a search can be left.
    void poll() {
        if (since_check_ < kCheckInterval) return;
        since_check_ = 0;
        watch_.check();
    }
    void check() const { watch_.check(); }

  private:
    // A step is not free, even where no neighbour is new.
    static constexpr std::size_t kVisitCost = 4;
    static constexpr std::size_t kCodesPerDistance = 4;

    Watch& watch_;
    Counters counters_;
    std::size_t since_check_ = 0;
};

}  // namespace llmspell::index
