// From filters to slots, and what is kept of those that come again.
#include "index/filter.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/random.hpp"
#include "check.hpp"
#include "index/filter_cache.hpp"
#include "vectors.hpp"

using namespace llmspell;
using namespace llmspell::index;

namespace {

constexpr std::size_t kBudget = std::size_t{1} << 20;

Storage storage_of(const std::vector<Label>& labels) {
    Storage storage(Quantiser(1, Metric::l2, simd::ElementType::f32));
    storage.reserve(labels.size());
    const float vector = 0.5f;
    for (const Label label : labels) put(storage, label, &vector);
    return storage;
}

std::vector<Label> counted(Label first, std::size_t count) {
    std::vector<Label> labels(count);
    std::iota(labels.begin(), labels.end(), first);
    return labels;
}

Filter by_ids(const std::vector<Label>& ids) {
    Filter filter;
    filter.ids = ids.data();
    filter.id_count = ids.size();
    return filter;
}

Filter by_bits(const std::vector<std::uint8_t>& bits) {
    Filter filter;
    filter.bits = bits.data();
    filter.bit_count = bits.size() * 8;
    return filter;
}

// The labels that are let through, by the bits and by for_each.
std::vector<Label> labels_of(const Storage& storage, const Filter& filter) {
    const PreparedFilter prepared(storage, filter);
    const Allowed allowed = prepared.allowed();
    std::vector<Label> by_bit, each;
    for (Slot slot = 0; slot < storage.slots(); ++slot) {
        if (allowed(slot)) by_bit.push_back(storage.label(slot));
    }
    allowed.for_each([&](const Slot* slots, std::size_t count) {
        CHECK(count <= Allowed::kAtOnce);
        for (std::size_t i = 0; i < count; ++i) each.push_back(storage.label(slots[i]));
    });
    CHECK(by_bit == each && allowed.count == each.size());
    std::sort(each.begin(), each.end());
    return each;
}

// What a filter allows of what lives, looked up one by one.
void allows_what_it_says(const Storage& storage, const std::vector<std::uint8_t>& bits) {
    std::vector<Label> ids, expected;
    for (Label label = 0; label < bits.size() * 8; ++label) {
        if (!by_bits(bits).bit(label)) continue;
        ids.push_back(label);
        if (storage.find(label) != kNoSlot) expected.push_back(label);
    }
    CHECK(labels_of(storage, by_bits(bits)) == expected);
    CHECK(labels_of(storage, by_ids(ids)) == expected);
    std::reverse(ids.begin(), ids.end());
    ids.insert(ids.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(ids.size() / 2));
    CHECK(labels_of(storage, by_ids(ids)) == expected);
}

std::vector<std::uint8_t> random_bits(std::size_t bytes, std::uint64_t seed) {
    SplitMix64 random(seed);
    std::vector<std::uint8_t> bits(bytes);
    for (std::uint8_t& byte : bits) byte = static_cast<std::uint8_t>(random());
    return bits;
}

void ids_and_bits_become_slots_whatever_the_order_of_labels() {
    for (const std::size_t count : {1u, 63u, 64u, 65u, 1000u}) {
        for (const std::size_t bytes : {1u, 7u, 8u, 9u, 125u, 300u}) {
            for (const Label first : {0u, 1u, 8u, 61u, 700u}) {
                Storage storage = storage_of(counted(first, count));
                CHECK(storage.consecutive());
                allows_what_it_says(storage, random_bits(bytes, count + bytes));
                storage.mark_deleted(0);
                CHECK(storage.consecutive());
                allows_what_it_says(storage, random_bits(bytes, count + bytes));
                storage.release(0);
                CHECK(!storage.consecutive());
                allows_what_it_says(storage, random_bits(bytes, count + bytes));
                const float vector = 0.0f;
                storage.reserve(1);
                put(storage, 5000, &vector);
                allows_what_it_says(storage, random_bits(bytes, count + bytes));
            }
        }
    }
    std::vector<Label> labels = counted(0, 500);
    std::swap(labels[3], labels[400]);
    Storage storage = storage_of(labels);
    CHECK(!storage.consecutive());
    allows_what_it_says(storage, random_bits(63, 1));
}

void labels_are_consecutive_again_once_rows_move_together() {
    Storage storage = storage_of(counted(10, 300));
    for (Slot slot = 0; slot < 100; ++slot) {
        storage.mark_deleted(slot);
        storage.release(slot);
    }
    CHECK(!storage.consecutive());
    storage.compact(storage.packed());
    CHECK(storage.consecutive() && storage.label(0) == 110);
    allows_what_it_says(storage, random_bits(60, 2));
}

void a_filter_that_comes_again_is_not_prepared_again() {
    Storage storage = storage_of(counted(0, 500));
    FilterCache cache;
    const std::vector<std::uint8_t> bits = random_bits(63, 1), same = bits;
    const auto first = cache.prepare(storage, by_bits(bits), kBudget);
    CHECK(cache.prepare(storage, by_bits(same), kBudget) == first);
    CHECK(cache.prepare(storage, by_bits(random_bits(63, 2)), kBudget) != first);
    // Bytes that are the same, as ids.
    const std::vector<Label> ids = counted(0, 8);
    Filter as_bits;
    as_bits.bits = reinterpret_cast<const std::uint8_t*>(ids.data());
    as_bits.bit_count = 512;
    const auto listed = cache.prepare(storage, by_ids(ids), kBudget);
    CHECK(cache.prepare(storage, as_bits, kBudget) != listed);
    CHECK(cache.prepare(storage, by_ids(ids), kBudget) == listed);
    storage.mark_deleted(3);
    const auto later = cache.prepare(storage, by_bits(bits), kBudget);
    CHECK(later != first && !later->allowed()(3));
}

void filters_that_came_more_than_once_stay_longest_within_the_budget() {
    const Storage storage = storage_of(counted(0, 500));
    FilterCache cache;
    const std::vector<std::uint8_t> bits = random_bits(63, 1);
    const auto kept = cache.prepare(storage, by_bits(bits), kBudget);
    cache.prepare(storage, by_bits(bits), kBudget);
    const std::size_t budget = 10 * kept->bytes();
    for (std::uint64_t seed = 2; seed < 100; ++seed) {
        cache.prepare(storage, by_bits(random_bits(63, seed)), budget);
        CHECK(cache.bytes() <= budget);
    }
    CHECK(cache.prepare(storage, by_bits(bits), budget) == kept);
    CHECK(cache.prepare(storage, by_bits(bits), 0) != nullptr);
    CHECK(cache.bytes() == 0);
}

void blocks_are_made_once_when_they_would_have_paid() {
    const Storage storage = storage_of(counted(0, 500));
    PreparedFilter filter(storage, by_bits(random_bits(63, 1)));
    int made = 0;
    const auto make = [&] {
        ++made;
        CodeBlocks blocks;
        blocks.count = 7;
        return blocks;
    };
    filter.spend(40.0, 100.0, make);
    filter.spend(40.0, 100.0, make);
    CHECK(made == 0 && filter.allowed().blocks == nullptr);
    filter.spend(40.0, 100.0, make);
    filter.spend(40.0, 100.0, make);
    CHECK(made == 1 && filter.allowed().blocks->count == 7);
}

}  // namespace

int main() {
    ids_and_bits_become_slots_whatever_the_order_of_labels();
    labels_are_consecutive_again_once_rows_move_together();
    a_filter_that_comes_again_is_not_prepared_again();
    filters_that_came_more_than_once_stay_longest_within_the_budget();
    blocks_are_made_once_when_they_would_have_paid();
    return 0;
}
