// AlignedArray below and above the size of a huge page, where its alignment changes.

#include "base/aligned.hpp"

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/file.hpp"
#include "check.hpp"

using llmspell::AlignedArray;

namespace {

constexpr std::size_t kSmall = 100;
#ifdef __linux__
constexpr bool kMaps = true;
#else
constexpr bool kMaps = false;
#endif
constexpr std::size_t kLarge = llmspell::Memory::kHugePage / sizeof(std::uint32_t);

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
        CHECK(array.mapped_bytes() == 0);
        CHECK(array.bytes() % AlignedArray<std::uint32_t>::kCacheLine == 0);
        CHECK(is_multiple(array.data(), AlignedArray<std::uint32_t>::kCacheLine));
        CHECK(count < kLarge || is_multiple(array.data(), llmspell::Memory::kHugePage));
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
    array.resize(kLarge + 1);
    array.shrink_to_fit();
    CHECK(is_filled(array, kLarge + 1));
    CHECK(array.bytes() < (kLarge + 20'000) * sizeof(std::uint32_t));
    array.resize(2 * kLarge);
    CHECK(is_filled(array, kLarge + 1) && is_zero(array, kLarge + 1));
    array.resize(kSmall);
    array.shrink_to_fit();
    CHECK(is_filled(array, kSmall));
    CHECK(array.bytes() < kSmall * sizeof(std::uint32_t) + AlignedArray<std::uint32_t>::kCacheLine);
    array.resize(0);
    array.shrink_to_fit();
    CHECK(array.size() == 0 && array.bytes() == 0 && array.data() == nullptr);
}

void room_that_was_used_before_is_zeroed() {
    AlignedArray<std::uint32_t> array;
    array.resize(2 * kSmall);
    fill(array);
    array.resize(kSmall);
    array.resize(3 * kSmall);
    CHECK(is_filled(array, kSmall) && is_zero(array, kSmall));
    array.resize(3 * kSmall + 2, 7);
    CHECK(array[3 * kSmall - 1] == 0 && array[3 * kSmall + 1] == 7);
}

// Of a size that is mapped, and one that is read.
void a_part_of_a_file_grows_and_shrinks_and_the_file_stays(std::size_t offset) {
    const std::string path =
        (std::filesystem::temp_directory_path() / ("aligned-" + std::to_string(::getpid())))
            .string();
    for (const std::size_t count : {kSmall, kLarge / 8 + 3, kLarge + 3}) {
        std::vector<std::uint32_t> content(offset / sizeof(std::uint32_t) + count + kSmall, 99);
        for (std::size_t i = 0; i < count; ++i) {
            content[offset / sizeof(std::uint32_t) + i] = static_cast<std::uint32_t>(i + 1);
        }
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(content.data()),
                   std::ssize(content) * static_cast<std::ptrdiff_t>(sizeof(std::uint32_t)));
        for (const std::size_t grown : {count + 1, count + kSmall, 2 * count, 3 * kLarge}) {
            AlignedArray<std::uint32_t> array(
                llmspell::Memory(llmspell::File(path), offset, count * sizeof(content[0]), true));
            CHECK(array.size() == count && is_filled(array, count));
            CHECK(count == kSmall || !kMaps || array.mapped_bytes() >= 4 * count);
            array.resize(grown);
            CHECK(is_filled(array, count) && is_zero(array, count));
            fill(array);
            array.resize(4 * kLarge);
            CHECK(is_filled(array, grown) && is_zero(array, grown));
            array.resize(kSmall / 2);
            array.shrink_to_fit();
            CHECK(is_filled(array, kSmall / 2));
            array.resize(kLarge);
            CHECK(is_filled(array, kSmall / 2) && is_zero(array, kSmall / 2));
        }
        std::ifstream file(path, std::ios::binary);
        std::vector<std::uint32_t> after(content.size());
        file.read(reinterpret_cast<char*>(after.data()),
                  std::ssize(after) * static_cast<std::ptrdiff_t>(sizeof(std::uint32_t)));
        CHECK(after == content);
    }
    std::filesystem::remove(path);
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
    room_that_was_used_before_is_zeroed();
    a_part_of_a_file_grows_and_shrinks_and_the_file_stays(65536);  // a page's
    a_part_of_a_file_grows_and_shrinks_and_the_file_stays(65536 + 192);
    a_move_takes_the_memory_along();
    an_impossible_size_throws_and_changes_nothing();
    return check_result();
}
