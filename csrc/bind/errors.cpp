#include "base/error.hpp"

#include "bind/bind.hpp"

namespace py = pybind11;

namespace llmspell::bind {
namespace {

const char* class_name(ErrorCode code) {
    switch (code) {
        case ErrorCode::config:
            return "ConfigError";
        case ErrorCode::input:
            return "InputError";
        case ErrorCode::dtype:
            return "DtypeError";
        case ErrorCode::shape:
            return "ShapeError";
        case ErrorCode::dimension_mismatch:
            return "DimensionMismatch";
        case ErrorCode::non_finite_vector:
            return "NonFiniteVector";
        case ErrorCode::zero_vector:
            return "ZeroVector";
        case ErrorCode::invalid_id:
            return "InvalidId";
        case ErrorCode::duplicate_id:
            return "DuplicateId";
        case ErrorCode::id_not_found:
            return "IdNotFound";
        case ErrorCode::storage:
            return "StorageError";
        case ErrorCode::corrupt_file:
            return "CorruptFile";
        case ErrorCode::unsupported_format:
            return "UnsupportedFormat";
        case ErrorCode::search_timeout:
            return "SearchTimeout";
        case ErrorCode::search_cancelled:
            return "SearchCancelled";
    }
    return "LlmspellError";
}

void raise(const Error& error) {
    const py::object type = py::module_::import("llmspell.errors").attr(class_name(error.code()));
    // A path in the message may hold bytes that aren't UTF-8: as os.fsdecode gives them.
    const auto message = py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(error.what()));
    if (!message) throw py::error_already_set();
    py::object instance;
    if (error.code() == ErrorCode::dimension_mismatch) {
        using namespace py::literals;
        instance = type(message, "expected"_a = error.expected(), "actual"_a = error.actual());
    } else {
        instance = type(message);
    }
    PyErr_SetObject(type.ptr(), instance.ptr());
}

}  // namespace

void register_errors(py::module_&) {
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const Error& error) {
            raise(error);
        }
    });
}

}  // namespace llmspell::bind
