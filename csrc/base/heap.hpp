// What is taken of the heap, for those who count memory.
#pragma once

#include <cstddef>

namespace llmspell {

// Of a vector's elements and of those it has room for.
template <class Vector>
std::size_t held_bytes(const Vector& vector) noexcept {
    return vector.capacity() * sizeof(typename Vector::value_type);
}

}  // namespace llmspell
