#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bind/bind.hpp"
#include "simd/kernels.hpp"

namespace py = pybind11;

namespace llmspell::bind {
namespace {

using simd::ElementType;
using simd::Level;

constexpr Level kLevels[] = {Level::scalar, Level::neon, Level::avx2, Level::avx512,
                             Level::avx512vnni};
constexpr py::ssize_t kMostDims = 16'384;  // int8 sums are exact up to here

std::vector<std::string> simd_levels() {
    std::vector<std::string> names;
    for (const Level level : kLevels) {
        if (simd::table(level) != nullptr) names.emplace_back(simd::name(level));
    }
    return names;
}

const simd::Kernels& kernels_of(const std::optional<std::string>& wanted) {
    if (!wanted) return simd::active();
    for (const Level level : kLevels) {
        const simd::Kernels* kernels = simd::table(level);
        if (kernels != nullptr && simd::name(level) == *wanted) return *kernels;
    }
    throw Error(ErrorCode::config, "this machine has no SIMD level '" + *wanted + "'");
}

ElementType type_of(const py::array& array) {
    const py::dtype dtype = array.dtype();
    if (dtype.equal(py::dtype("float32"))) return ElementType::f32;
    if (dtype.equal(py::dtype("float16"))) return ElementType::f16;
    if (dtype.equal(py::dtype("int8"))) return ElementType::i8;
    if (dtype.equal(py::dtype("uint16"))) return ElementType::bf16;  // NumPy has no name for it
    if (dtype.equal(py::dtype("uint8"))) return ElementType::binary;
    throw Error(ErrorCode::dtype,
                "expected rows of float32, float16, int8, uint16 for bfloat16 or uint8 for "
                "packed bits, got " +
                    py::str(dtype).cast<std::string>());
}

const simd::Metric& metric_of(const simd::Kernels& kernels, const std::string& name,
                              ElementType type) {
    if ((name == "hamming") != (type == ElementType::binary)) {
        throw Error(ErrorCode::config,
                    "metric 'hamming' and rows of uint8 go together and with "
                    "no other, got metric '" +
                        name + "'");
    }
    if (name == "hamming") return kernels.hamming;
    const auto i = static_cast<std::size_t>(type);
    if (name == "ip") return kernels.ip[i];
    if (name == "l2") return kernels.l2[i];
    if (name == "cosine") return kernels.cosine[i];
    if (name == "l1") return kernels.l1[i];
    throw Error(ErrorCode::config,
                "expected metric 'ip', 'l2', 'cosine', 'l1' or 'hamming', got '" + name + "'");
}

void check_query(const py::array& query, ElementType type, py::ssize_t dim) {
    const char* wanted = type == ElementType::i8       ? "int8"
                         : type == ElementType::binary ? "uint8"
                                                       : "float32";
    if (!query.dtype().equal(py::dtype(wanted))) {
        throw Error(ErrorCode::dtype, std::string("expected a query of ") + wanted + ", got " +
                                          py::str(query.dtype()).cast<std::string>());
    }
    if (query.ndim() != 1) {
        throw Error(ErrorCode::shape, "expected a query of shape (dim,), got " +
                                          std::to_string(query.ndim()) + " axes");
    }
    if (query.shape(0) != dim) {
        throw Error(ErrorCode::dimension_mismatch,
                    "expected a query of dimension " + std::to_string(dim) + ", got " +
                        std::to_string(query.shape(0)),
                    dim, query.shape(0));
    }
    if (dim < 1 || dim > kMostDims) {
        throw Error(ErrorCode::shape, "expected a dimension from 1 to " +
                                          std::to_string(kMostDims) + ", got " +
                                          std::to_string(dim));
    }
}

std::size_t elements(py::ssize_t width, ElementType type) {
    return static_cast<std::size_t>(width) * (type == ElementType::binary ? 8 : 1);
}

py::array contiguous(const py::array& array) {
    return py::array::ensure(array, py::array::c_style);
}

py::array_t<float> distances(const std::string& metric, const py::array& query,
                             const py::array& rows, const std::optional<std::string>& level) {
    if (rows.ndim() != 2) {
        throw Error(ErrorCode::shape, "expected rows of shape (n, dim), got " +
                                          std::to_string(rows.ndim()) + " axes");
    }
    const ElementType type = type_of(rows);
    const simd::Metric& kernel = metric_of(kernels_of(level), metric, type);
    check_query(query, type, rows.shape(1));
    const py::array query_data = contiguous(query), row_data = contiguous(rows);
    const auto count = static_cast<std::size_t>(rows.shape(0));
    const std::size_t dim = elements(rows.shape(1), type);
    py::array_t<float> out(rows.shape(0));
    float* values = out.mutable_data();
    const void* first = query_data.data();
    const void* second = row_data.data();
    const py::gil_scoped_release unlocked;  // there may be millions of rows
    kernel.batch(first, second, simd::vector_bytes(type, dim), nullptr, count, dim, values);
    return out;
}

float distance(const std::string& metric, const py::array& query, const py::array& row,
               const std::optional<std::string>& level) {
    if (row.ndim() != 1) {
        throw Error(ErrorCode::shape,
                    "expected a row of shape (dim,), got " + std::to_string(row.ndim()) + " axes");
    }
    const ElementType type = type_of(row);
    const simd::Metric& kernel = metric_of(kernels_of(level), metric, type);
    check_query(query, type, row.shape(0));
    return kernel.pair(contiguous(query).data(), contiguous(row).data(),
                       elements(row.shape(0), type));
}

}  // namespace

void register_kernels(py::module_& module) {
    using namespace py::literals;
    module.def(
        "simd_level", [] { return std::string(simd::name(simd::active().level)); },
        "Name of the instruction-set level in use: the best there is, or LLMSPELL_SIMD's.");
    module.def("simd_levels", &simd_levels, "Names of the levels that this machine has.");
    module.def("distance", &distance, "metric"_a, "query"_a, "row"_a, "level"_a = py::none(),
               "Inner product (ip), squared distance (l2), cosine similarity (cosine), sum of "
               "absolute differences (l1) or bits that differ (hamming) of two vectors by one "
               "kernel. A row of uint16 is one of bfloat16, one of uint8 one of packed bits.");
    module.def("distances", &distances, "metric"_a, "query"_a, "rows"_a, "level"_a = py::none(),
               "The same of one query and each of many rows, float32 of shape (n,).");
}

}  // namespace llmspell::bind
