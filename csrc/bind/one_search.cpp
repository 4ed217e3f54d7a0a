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
#include <utility>

#include "base/one_search.hpp"
#include "bind/arrays.hpp"
#include "index/index.hpp"

namespace llmspell::bind {
namespace {

using index::Index;

constexpr std::size_t kMost = 256;  // results that are kept on the stack

// A plain int from 1 on, or 0 where it is anything else.
std::size_t count_of(PyObject* value) {
    if (!PyLong_CheckExact(value)) return 0;
    int beyond = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &beyond);
    return beyond != 0 || number < 1 ? 0 : static_cast<std::size_t>(number);
}

template <class Element>
PyObject* array_of(const Element* values, std::size_t count) {
    py::array_t<Element> array(count);
    if (count > 0) std::memcpy(array.mutable_data(), values, count * sizeof(Element));
    return array.release().ptr();
}

class Searcher final : public OneSearcher {
  public:
    Searcher(py::object owner, const Index& index, py::object result)
        : result_(std::move(result)), owner_(std::move(owner)), index_(&index) {}

    bool take(PyObject* query, PyObject* k, PyObject* ef, PyObject* recall,
              OneQuery& taken) const noexcept override try {
        if (index_->type() == simd::ElementType::binary || !py::isinstance<Vectors>(query)) {
            return false;
        }
        const auto vector = py::reinterpret_borrow<Vectors>(query);
        if (vector.ndim() != 1 || !is_aligned(vector) ||
            static_cast<std::size_t>(vector.shape(0)) != index_->dim()) {
            return false;
        }
        taken.vector = vector.data();
        taken.dim = index_->dim();
        taken.k = count_of(k);
        taken.ef = ef == Py_None ? 0 : count_of(ef);
        taken.recall = 0.0;
        if (taken.k == 0 || taken.k > kMost || (taken.ef == 0 && ef != Py_None)) return false;
        if (recall == Py_None) return true;
        taken.recall = PyFloat_CheckExact(recall) ? PyFloat_AS_DOUBLE(recall) : 0.0;
        return taken.recall > 0.0 && taken.recall <= 1.0 && ef == Py_None;
    } catch (...) {
        return false;
    }

    std::ptrdiff_t search(const OneQuery& query, std::int64_t* ids,
                          float* scores) const noexcept override {
        return search(query, nullptr, ids, scores);
    }

    std::ptrdiff_t search(const OneQuery& query, const index::Filter* filter, std::int64_t* ids,
                          float* scores) const noexcept try {
        static_assert(sizeof(Label) == sizeof(std::int64_t));
        index::SearchOptions options;
        options.k = query.k;
        options.ef = query.ef;
        options.recall = query.recall;
        options.filter = filter;
        std::size_t found = 0;
        index_->search(query.vector, 1, options, reinterpret_cast<Label*>(ids), scores, &found);
        return static_cast<std::ptrdiff_t>(found);
    } catch (...) {
        return -1;
    }

    // The type of a result: a subclass of tuple.
    PyTypeObject* result() const noexcept { return reinterpret_cast<PyTypeObject*>(result_.ptr()); }

  private:
    py::object result_;
    py::object owner_;  // of the index
    const Index* index_;
};

// (query, k, ef or None, threads, recall or None, bits or None) -> the result, or None where the
// call is not of the kind above or goes wrong: the caller then makes the general one, which tells
// what is wrong.
PyObject* one_search(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    const void* const held = PyCapsule_GetPointer(self, one_searcher_capsule);
    if (held == nullptr) return nullptr;
    const auto* searcher = static_cast<const Searcher*>(static_cast<const OneSearcher*>(held));
    OneQuery query;
    if (count != 6 || !searcher->take(args[0], args[1], args[2], args[4], query) ||
        count_of(args[3]) != 1) {
        Py_RETURN_NONE;
    }
    index::Filter filter;
    if (args[5] != Py_None) {
        if (!py::isinstance<Bits>(args[5])) Py_RETURN_NONE;
        const auto bits = py::reinterpret_borrow<Bits>(args[5]);
        if (bits.ndim() != 1) Py_RETURN_NONE;
        filter.bits = bits.data();
        filter.bit_count = static_cast<std::size_t>(bits.size()) * 8;
    }
    std::array<std::int64_t, kMost> ids;
    std::array<float, kMost> scores;
    try {
        std::ptrdiff_t found = -1;
        {
            const py::gil_scoped_release unlocked;
            found = searcher->search(query, args[5] == Py_None ? nullptr : &filter, ids.data(),
                                     scores.data());
        }
        if (found < 0) Py_RETURN_NONE;
        const auto many = static_cast<std::size_t>(found);
        PyTypeObject* const type = searcher->result();
        const auto result = py::reinterpret_steal<py::object>(type->tp_alloc(type, 2));
        if (!result) return nullptr;
        PyTuple_SET_ITEM(result.ptr(), 0, array_of(ids.data(), many));
        PyTuple_SET_ITEM(result.ptr(), 1, array_of(scores.data(), many));
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
            auto searcher = std::make_unique<Searcher>(owner, index, type);
            const py::capsule capsule(
                static_cast<OneSearcher*>(searcher.get()), one_searcher_capsule,
                [](void* held) { delete static_cast<Searcher*>(static_cast<OneSearcher*>(held)); });
            searcher.release();
            return py::reinterpret_steal<py::object>(
                PyCFunction_NewEx(&kOneSearch, capsule.ptr(), nullptr));
        },
        py::arg("index"), py::arg("result"));
}

}  // namespace llmspell::bind
