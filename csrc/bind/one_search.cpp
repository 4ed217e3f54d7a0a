// The search that most calls are: one float query, how many, how wide or how well, and perhaps a
// bitmap of what is allowed.
// As a plain C function that fills the result's own type it takes a third of what a bound method
// and a conversion in Python take, which for a walk of tens of microseconds is a tenth of the call.
#include <pybind11/numpy.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

#include "bind/arrays.hpp"
#include "index/index.hpp"

namespace llmspell::bind {
namespace {

using index::Index;

constexpr const char* kCapsule = "llmspell.one_search";
constexpr std::size_t kMost = 256;  // results that are kept on the stack

struct OneSearch {
    py::object owner;  // of the index
    const Index* index;
    py::object type;  // a subclass of tuple, of the result
};

// A plain int from 1 on, or 0 where it is anything else.
std::size_t count_of(PyObject* value) {
    if (!PyLong_CheckExact(value)) return 0;
    int beyond = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &beyond);
    return beyond != 0 || number < 1 ? 0 : static_cast<std::size_t>(number);
}

template <class Element, class From>
PyObject* array_of(const From* values, std::size_t count) {
    static_assert(sizeof(Element) == sizeof(From));
    py::array_t<Element> array(count);
    if (count > 0) std::memcpy(array.mutable_data(), values, count * sizeof(From));
    return array.release().ptr();
}

// (query, k, ef or None, threads, recall or None, bits or None) -> the result, or None where the
// call is not of the kind above or goes wrong: the caller then makes the general one, which tells
// what is wrong.
PyObject* one_search(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    const auto* one = static_cast<const OneSearch*>(PyCapsule_GetPointer(self, kCapsule));
    if (one == nullptr) return nullptr;
    if (count != 6 || one->index->type() == simd::ElementType::binary ||
        !py::isinstance<Vectors>(args[0])) {
        Py_RETURN_NONE;
    }
    const auto query = py::reinterpret_borrow<Vectors>(args[0]);
    index::SearchOptions options;
    options.k = count_of(args[1]);
    options.ef = args[2] == Py_None ? 0 : count_of(args[2]);
    if (query.ndim() != 1 || !is_aligned(query) ||
        static_cast<std::size_t>(query.shape(0)) != one->index->dim() || options.k == 0 ||
        options.k > kMost || (options.ef == 0 && args[2] != Py_None) || count_of(args[3]) != 1) {
        Py_RETURN_NONE;
    }
    if (args[4] != Py_None) {
        options.recall = PyFloat_CheckExact(args[4]) ? PyFloat_AS_DOUBLE(args[4]) : 0.0;
        if (!(options.recall > 0.0 && options.recall <= 1.0) || args[2] != Py_None) Py_RETURN_NONE;
    }
    index::Filter filter;
    if (args[5] != Py_None) {
        if (!py::isinstance<Bits>(args[5])) Py_RETURN_NONE;
        const auto bits = py::reinterpret_borrow<Bits>(args[5]);
        if (bits.ndim() != 1) Py_RETURN_NONE;
        filter.bits = bits.data();
        filter.bit_count = static_cast<std::size_t>(bits.size()) * 8;
        options.filter = &filter;
    }
    std::array<Label, kMost> labels;
    std::array<float, kMost> scores;
    std::size_t found = 0;
    try {
        {
            const py::gil_scoped_release unlocked;
            one->index->search(query.data(), 1, options, labels.data(), scores.data(), &found);
        }
        auto* const type = reinterpret_cast<PyTypeObject*>(one->type.ptr());
        const auto result = py::reinterpret_steal<py::object>(type->tp_alloc(type, 2));
        if (!result) return nullptr;
        PyTuple_SET_ITEM(result.ptr(), 0, (array_of<std::int64_t>(labels.data(), found)));
        PyTuple_SET_ITEM(result.ptr(), 1, (array_of<float>(scores.data(), found)));
        return result.inc_ref().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
        return nullptr;
    } catch (...) {
        Py_RETURN_NONE;
    }
}

// By way of a type that may become any function's, since a method's own has two parameters.
PyMethodDef kOneSearch = {"one_search",
                          reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&one_search)),
                          METH_FASTCALL, nullptr};

}  // namespace

void define_one_search(py::module_& module) {
    module.def(
        "one_search",
        [](const py::object& owner, const py::type& type) {
            if (PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type.ptr()), &PyTuple_Type) == 0) {
                throw py::type_error("expected a subclass of tuple");
            }
            const auto& index = owner.cast<const Index&>();
            const py::capsule capsule(new OneSearch{owner, &index, type}, kCapsule,
                                      [](void* held) { delete static_cast<OneSearch*>(held); });
            return py::reinterpret_steal<py::object>(
                PyCFunction_NewEx(&kOneSearch, capsule.ptr(), nullptr));
        },
        py::arg("index"), py::arg("result"));
}

}  // namespace llmspell::bind
