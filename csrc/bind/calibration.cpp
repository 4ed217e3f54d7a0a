// What an index has measured of the recall of its walks.
#include "index/calibration.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <tuple>
#include <vector>

#include "bind/arrays.hpp"
#include "index/index.hpp"

namespace llmspell::bind {
namespace {

using index::Index;

void calibrate(const Index& self, std::size_t k, double recall, unsigned threads,
               const py::object& watch) {
    index::Watch* const of_call = watch.is_none() ? nullptr : watch.cast<index::Watch*>();
    const py::gil_scoped_release unlocked;  // seconds
    self.calibrate(k, recall, threads, of_call);
}

py::list calibration(const Index& self) {
    const std::vector<index::CalibratedCurve> curves = [&] {
        const py::gil_scoped_release unlocked;  // waits for a change in progress
        return self.calibration();
    }();
    py::list out;
    for (const auto& [curve, changed] : curves) {
        py::list points;
        for (const index::RecallPoint& point : curve.points) {
            points.append(py::make_tuple(point.ef, point.recall, point.error));
        }
        py::dict one;
        one["k"] = curve.k;
        one["quantized"] = curve.coded;
        one["vectors"] = curve.vectors;
        one["changed"] = changed;
        one["stored_queries"] = curve.stored;
        one["asked_queries"] = curve.asked;
        one["points"] = points;
        out.append(one);
    }
    return out;
}

std::optional<std::size_t> width_for(
    const std::vector<std::tuple<std::size_t, double, double>>& points, double recall) {
    index::RecallCurve curve;
    for (const auto& [ef, mean, error] : points) curve.points.push_back({ef, mean, error});
    return curve.width_for(recall);
}

}  // namespace

void define_calibration(py::module_& module, py::class_<Index>& index) {
    using namespace py::literals;
    index.def("calibrate", &calibrate, "k"_a, "recall"_a, "threads"_a, "watch"_a = py::none())
        .def("calibration", &calibration);
    module.def("width_for", &width_for, "points"_a, "recall"_a);
}

}  // namespace llmspell::bind
