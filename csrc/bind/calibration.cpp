// What an index has measured of the recall of its walks.
#include "index/calibration.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "bind/arrays.hpp"
#include "index/index.hpp"

namespace llmspell::bind {
namespace {

using index::Index;
using Points = std::vector<std::tuple<std::size_t, double, double>>;

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

void adopt(const Index& self, std::size_t k, bool quantized, std::size_t vectors, double changed,
           std::size_t stored_queries, std::size_t asked_queries, const Points& points) {
    index::RecallCurve curve;
    curve.k = k;
    curve.coded = quantized;
    curve.vectors = vectors;
    curve.stored = stored_queries;
    curve.asked = asked_queries;
    for (const auto& [ef, mean, error] : points) curve.points.push_back({ef, mean, error});
    const py::gil_scoped_release unlocked;  // waits for a change in progress
    self.adopt(std::move(curve), changed);
}

std::optional<std::tuple<std::size_t, bool>> curve_for(const Index& self, std::size_t k) {
    const py::gil_scoped_release unlocked;  // waits for a change in progress
    const std::optional<index::CurveKey> key = self.curve_for(k);
    if (!key) return std::nullopt;
    return std::tuple{key->k, key->coded};
}

std::optional<std::size_t> width_for(const Points& points, double recall) {
    index::RecallCurve curve;
    for (const auto& [ef, mean, error] : points) curve.points.push_back({ef, mean, error});
    return curve.width_for(recall);
}

}  // namespace

void define_calibration(py::module_& module, py::class_<Index>& index) {
    using namespace py::literals;
    index.def("calibrate", &calibrate, "k"_a, "recall"_a, "threads"_a, "watch"_a = py::none())
        .def("calibration", &calibration)
        .def("adopt", &adopt, "k"_a, "quantized"_a, "vectors"_a, "changed"_a, "stored_queries"_a,
             "asked_queries"_a, "points"_a)
        .def("curve_for", &curve_for, "k"_a);
    module.def("width_for", &width_for, "points"_a, "recall"_a);
}

}  // namespace llmspell::bind
