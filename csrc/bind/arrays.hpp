// The arrays that an index takes; callers convert to these types, nothing here does.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "base/error.hpp"
#include "index/index.hpp"

namespace llmspell::bind {

namespace py = pybind11;

using index::Label;
template <class Element>
using VectorsOf = py::array_t<Element, py::array::c_style>;
using Vectors = VectorsOf<float>;
using PackedVectors = VectorsOf<std::uint8_t>;  // eight elements of a binary vector each
using Labels = py::array_t<Label, py::array::c_style>;
using Bits = py::array_t<std::uint8_t, py::array::c_style>;

inline bool is_aligned(const py::array& array) {
    return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

template <class Element>
std::size_t rows_of(const index::Index& self, const VectorsOf<Element>& vectors) {
    constexpr bool kPacked = std::is_same_v<Element, std::uint8_t>;
    const bool binary = self.type() == simd::ElementType::binary;
    if (kPacked != binary) {
        throw Error(ErrorCode::dtype, binary ? "expected binary vectors, got float32"
                                             : "expected float vectors, got packed bits");
    }
    const auto last = vectors.ndim() - 1;
    if (vectors.ndim() != 1 && vectors.ndim() != 2) {
        throw Error(ErrorCode::shape, "expected an array of shape (dim,) or (n, dim), got " +
                                          std::to_string(vectors.ndim()) + " axes");
    }
    const auto width = static_cast<std::size_t>(vectors.shape(last));
    if (kPacked && width != (self.dim() + 7) / 8) {
        throw Error(ErrorCode::dimension_mismatch,
                    "expected vectors of dimension " + std::to_string(self.dim()) + ", packed in " +
                        std::to_string((self.dim() + 7) / 8) + " bytes, got " +
                        std::to_string(width) + " bytes",
                    static_cast<std::int64_t>(self.dim()), vectors.shape(last) * 8);
    }
    if (!kPacked && width != self.dim()) {
        throw Error(ErrorCode::dimension_mismatch,
                    "expected vectors of dimension " + std::to_string(self.dim()) + ", got " +
                        std::to_string(vectors.shape(last)),
                    static_cast<std::int64_t>(self.dim()), vectors.shape(last));
    }
    return vectors.ndim() == 1 ? 1 : static_cast<std::size_t>(vectors.shape(0));
}

// What belongs to class Index and is in searches.cpp.
void define_searches(py::module_& module, py::class_<index::Index>& index);
// And in one_search.cpp.
void define_one_search(py::module_& module);
// And in calibration.cpp.
void define_calibration(py::module_& module, py::class_<index::Index>& index);

}  // namespace llmspell::bind
