// What blocks of the heap take, for those who count memory.
#pragma once

#include <algorithm>
#include <cstddef>

namespace llmspell {

// Of a block of `bytes` from malloc: glibc adds a header of eight bytes, gives multiples of 16, and
// at least 32. Other allocators are near that.
constexpr std::size_t heap_bytes(std::size_t bytes) noexcept {
    return std::max<std::size_t>((bytes + 8 + 15) / 16 * 16, 32);
}

template <class Vector>
std::size_t held_bytes(const Vector& vector) noexcept {
    return vector.capacity() * sizeof(typename Vector::value_type);
}

}  // namespace llmspell
