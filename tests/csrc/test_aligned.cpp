// AlignedArray below and above the size of a huge page, where its alignment changes.

#include "base/aligned.hpp"

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "check.hpp"

using llmspell::AlignedArray;

namespace {

constexpr std::size_t kSmall = 100;
constexpr std::size_t kLarge = AlignedArray<std::uint32_t>::kHugePage / sizeof(std::uint32_t);

bool is_multiple(const void* pointer, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

void fill(AlignedArray<std::uint32_t>& array) {
    for (std::size_t i = 0; i < array.size(); ++i) array[i] = static_cast<std::uint32_t>(i + 1);
}

bool is_filled(const AlignedArray<std::uint32_t>& array, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        if (array[i] != i + 1) return false;
    }
    return true;
}

bool is_zero(const AlignedArray<std::uint32_t>& array, std::size_t from) {
    for (std::size_t i = from; i < array.size(); ++i) {
        if (array[i] != 0) return false;
    }
    return true;
}

void memory_is_aligned_to_cache_lines_and_huge_pages() {
    AlignedArray<std::uint32_t> array;
    for (const std::size_t count : {std::size_t{1}, kSmall, kLarge - 1, kLarge, kLarge + 1}) {
        array.resize(count);
        CHECK(array.size() == count);
        CHECK(array.bytes() >= count * sizeof(std::uint32_t));
        CHECK(array.bytes() % AlignedArray<std::uint32_t>::kCacheLine == 0);
        CHECK(is_multiple(array.data(), AlignedArray<std::uint32_t>::kCacheLine));
        CHECK(count < kLarge || is_multiple(array.data(), AlignedArray<std::uint32_t>::kHugePage));
    }
}

void growth_keeps_the_old_and_zeroes_the_new() {
    AlignedArray<std::uint32_t> array;
    std::size_t before = 0;
    for (const std::size_t count : {kSmall, kSmall + 1, kLarge + 7, kLarge + 8}) {
        array.resize(count);
        CHECK(is_filled(array, before));
        CHECK(is_zero(array, before));
        fill(array);
        before = count;
    }
}

void shrinking_keeps_the_front_and_gives_memory_back() {
    AlignedArray<std::uint32_t> array;
    array.resize(kLarge * 2);
    fill(array);
    array.resize(kSmall);
    CHECK(is_filled(array, kSmall));
    CHECK(array.bytes() < kSmall * sizeof(std::uint32_t) + AlignedArray<std::uint32_t>::kCacheLine);
    array.resize(0);
    CHECK(array.size() == 0 && array.bytes() == 0 && array.data() == nullptr);
}

void a_move_takes_the_memory_along() {
    AlignedArray<std::uint32_t> from;
    from.resize(kSmall);
    fill(from);
    const std::uint32_t* memory = from.data();
    AlignedArray<std::uint32_t> to(std::move(from));
    CHECK(to.data() == memory && is_filled(to, kSmall));
    AlignedArray<std::uint32_t> other;
    other.resize(kLarge);
    other = std::move(to);
    CHECK(other.data() == memory && other.size() == kSmall);
}

void an_impossible_size_throws_and_changes_nothing() {
    AlignedArray<std::uint32_t> array;
    array.resize(kSmall);
    fill(array);
    bool thrown = false;
    try {
        array.resize(static_cast<std::size_t>(-1) / sizeof(std::uint32_t));
    } catch (const std::bad_alloc&) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(array.size() == kSmall && is_filled(array, kSmall));
}

}  // namespace

int main() {
    memory_is_aligned_to_cache_lines_and_huge_pages();
    growth_keeps_the_old_and_zeroes_the_new();
    shrinking_keeps_the_front_and_gives_memory_back();
    a_move_takes_the_memory_along();
    an_impossible_size_throws_and_changes_nothing();
    return check_result();
}
