#include "index/filter_cache.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/heap.hpp"

namespace llmspell::index {
namespace {

std::span<const std::byte> content_of(const Filter& filter) noexcept {
    if (filter.ids != nullptr) return std::as_bytes(std::span(filter.ids, filter.id_count));
    return std::as_bytes(std::span(filter.bits, filter.bit_count / 8));
}

}  // namespace

PreparedFilter::PreparedFilter(const Storage& storage, const Filter& filter)
    : ids_(filter.ids != nullptr),
      content_(content_of(filter).begin(), content_of(filter).end()),
      version_(storage.version()),
      slots_(storage.slots()),
      bits_(allow(storage, filter)),
      count_(0) {
    for (const std::uint64_t word : bits_) count_ += static_cast<unsigned>(std::popcount(word));
}

std::size_t PreparedFilter::bytes() const noexcept {
    const CodeBlocks* blocks = blocks_.load(std::memory_order_acquire);
    return sizeof(*this) + held_bytes(content_) + held_bytes(bits_) +
           (blocks == nullptr ? 0 : blocks->bytes());
}

bool PreparedFilter::holds(const Filter& filter) const noexcept {
    const std::span<const std::byte> content = content_of(filter);
    return ids_ == (filter.ids != nullptr) && content_.size() == content.size() &&
           (content.empty() || std::memcmp(content_.data(), content.data(), content.size()) == 0);
}

std::shared_ptr<PreparedFilter> FilterCache::prepare(const Storage& storage, const Filter& filter,
                                                     std::size_t budget) {
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const auto& entry) {
            return entry->is_current(storage) && entry->holds(filter);
        });
        if (found != entries_.rend()) {
            const std::shared_ptr<PreparedFilter> prepared = *found;
            prepared->again_ = true;
            prepared->last_use_ = ++clock_;
            shrink(budget);
            return prepared;
        }
    }
    auto prepared = std::make_shared<PreparedFilter>(storage, filter);
    const std::lock_guard<std::mutex> guard(mutex_);
    std::erase_if(entries_, [&](const auto& entry) { return !entry->is_current(storage); });
    prepared->last_use_ = ++clock_;
    entries_.push_back(prepared);
    shrink(budget);
    return prepared;
}

// What wasn't used for longest goes first, where a filter that came more than once counts as used
// kLonger times as lately: many that come but once don't drive it out.
void FilterCache::shrink(std::size_t budget) {
    constexpr std::uint64_t kLonger = 8;
    std::size_t total = 0;
    for (const auto& entry : entries_) total += entry->bytes();
    const auto age = [&](const std::shared_ptr<PreparedFilter>& entry) {
        return (clock_ - entry->last_use_) * (entry->again_ ? 1 : kLonger);
    };
    while (!entries_.empty() && (total > budget || entries_.size() > kMost)) {
        const auto oldest =
            std::max_element(entries_.begin(), entries_.end(),
                             [&](const auto& a, const auto& b) { return age(a) < age(b); });
        total -= (*oldest)->bytes();
        entries_.erase(oldest);
    }
}

std::size_t FilterCache::bytes() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    std::size_t total = 0;
    for (const auto& entry : entries_) total += entry->bytes();
    return total;
}

}  // namespace llmspell::index
