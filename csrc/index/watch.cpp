#include "index/watch.hpp"

#include <algorithm>
#include <cstdio>

#include "base/error.hpp"

namespace llmspell::index {

Watch::Watch(std::optional<double> timeout, const CancelToken* token) : token_(token) {
    constexpr double kForever = 1e9;  // seconds; more would overflow the clock
    if (!timeout) return;
    if (!(*timeout >= 0.0)) {
        throw Error(ErrorCode::input, "timeout must be at least 0 seconds");
    }
    timeout_ = *timeout;
    if (timeout_ < kForever) {
        deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                       std::chrono::duration<double>(timeout_));
    }
}

void Watch::check() const {
    if (token_ != nullptr && token_->cancelled()) {
        throw Error(ErrorCode::search_cancelled, "the search's token was cancelled");
    }
    if (deadline_ && Clock::now() >= *deadline_) {
        char message[64];
        std::snprintf(message, sizeof message, "the search took longer than its timeout of %g s",
                      timeout_);
        throw Error(ErrorCode::search_timeout, message);
    }
}

void Watch::add(const Counters& counters) {
    const std::lock_guard<std::mutex> guard(mutex_);
    total_.visited += counters.visited;
    total_.estimated += counters.estimated;
    total_.distances += counters.distances;
    total_.reranked += counters.reranked;
    total_.width = std::max(total_.width, counters.width);
    if (counters.strategy == Strategy::none) return;
    const bool same = total_.strategy == Strategy::none || total_.strategy == counters.strategy;
    total_.strategy = same ? counters.strategy : Strategy::mixed;
}

Counters Watch::counters() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return total_;
}

}  // namespace llmspell::index
