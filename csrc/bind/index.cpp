#include "index/index.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bind/arrays.hpp"
#include "bind/bind.hpp"
#include "index/estimate.hpp"
#include "index/quantiser.hpp"
#include "index/types.hpp"

namespace py = pybind11;

namespace llmspell::bind {
namespace {

using index::Index;

void check(const Vectors& vectors, const std::string& metric, const std::string& dtype) {
    const std::size_t dim = vectors.ndim() == 2 ? static_cast<std::size_t>(vectors.shape(1)) : 0;
    if (dim < 1 || dim > index::kMaxDim) {
        throw Error(
            ErrorCode::shape,
            "expected an array of shape (n, dim) with dim from 1 to " +
                std::to_string(index::kMaxDim) + ", got " + std::to_string(vectors.ndim()) +
                " axes" +
                (vectors.ndim() == 0
                     ? ""
                     : ", the last of " + std::to_string(vectors.shape(vectors.ndim() - 1))));
    }
    const auto parsed_metric = index::parse(index::kMetrics, metric, "metric");
    const auto type = index::parse(index::kTypes, dtype, "dtype");
    index::check_types(parsed_metric, type, index::Quantization::none);
    if (type == simd::ElementType::binary) {
        throw Error(ErrorCode::dtype, "expected binary vectors, got float32");
    }
    const index::Quantiser rules(dim, parsed_metric, type);
    const float* data = vectors.data();
    const auto count = static_cast<std::size_t>(vectors.shape(0));
    const py::gil_scoped_release unlocked;  // reads all components
    for (std::size_t i = 0; i < count; ++i) rules.check(data + i * dim, i);
}

template <class Element>
void add(Index& self, const Labels& labels, const VectorsOf<Element>& vectors, bool replace,
         unsigned threads) {
    const std::size_t count = rows_of(self, vectors);
    if (static_cast<std::size_t>(labels.size()) != count) {
        throw Error(ErrorCode::shape, "expected as many ids as vectors, got " +
                                          std::to_string(labels.size()) + " ids and " +
                                          std::to_string(count) + " vectors");
    }
    const Label* label_data = labels.data();
    const Element* vector_data = vectors.data();
    const py::gil_scoped_release unlocked;  // linking takes up to milliseconds a vector
    self.add(label_data, vector_data, count, replace, threads);
}

std::size_t remove(Index& self, const Labels& labels) {
    const Label* data = labels.data();
    const auto count = static_cast<std::size_t>(labels.size());
    const py::gil_scoped_release unlocked;  // may repair the graph
    return self.remove(data, count);
}

py::array ids(const Index& self) {
    const std::vector<Label> found = [&] {
        const py::gil_scoped_release unlocked;  // waits for a change in progress
        return self.labels();
    }();
    return py::array_t<Label>(static_cast<py::ssize_t>(found.size()), found.data());
}

py::array get(const Index& self, const Labels& labels) {
    const auto count = static_cast<std::size_t>(labels.size());
    py::array out;
    if (self.type() == simd::ElementType::binary) {
        out = PackedVectors({count, (self.dim() + 7) / 8});
    } else {
        out = Vectors({count, self.dim()});
    }
    const Label* data = labels.data();
    void* vectors = out.mutable_data();
    const py::gil_scoped_release unlocked;  // waits for a change in progress
    self.get(data, count, vectors);
    return out;
}

py::dict to_dict(const index::MemoryBytes& memory) {
    py::dict out;
    out["vectors"] = memory.vectors;
    out["ids"] = memory.ids;
    out["bottom_layer"] = memory.bottom_layer;
    out["upper_layers"] = memory.upper_layers;
    out["codes"] = memory.codes;
    out["refined_codes"] = memory.refined_codes;
    out["codebook"] = memory.codebook;
    out["scratch"] = memory.scratch;
    out["mapped"] = memory.mapped;
    return out;
}

py::tuple estimate_memory(std::size_t count, std::size_t dim, const std::string& metric,
                          const std::string& dtype, std::uint32_t m, std::uint32_t max_neighbors,
                          std::uint64_t graph_threshold, const std::string& quantization,
                          std::size_t code_groups) {
    index::Params params;
    params.m = m;
    params.max_neighbors = max_neighbors;
    params.ef_construction = std::max(params.ef_construction, m);
    params.graph_threshold = graph_threshold;
    params.quantization = index::parse(index::kQuantizations, quantization, "quantization");
    const index::MemoryEstimate found =
        index::estimate_memory(count, dim, index::parse(index::kMetrics, metric, "metric"),
                               index::parse(index::kTypes, dtype, "dtype"), params, code_groups);
    return py::make_tuple(to_dict(found.built), found.grown, found.peak);
}

py::dict stats(const Index& self) {
    const index::Stats s = [&] {
        const py::gil_scoped_release unlocked;  // walks over all nodes
        return self.stats();
    }();
    py::dict out;
    out["live"] = s.live;
    out["deleted"] = s.deleted;
    out["slots"] = s.slots;
    out["capacity"] = s.capacity;
    out["degrees"] = s.degrees;
    out["layers"] = s.layers;
    out["code_groups"] = s.code_groups;
    out["memory"] = to_dict(s.memory);
    return out;
}

void compact(Index& self, const py::object& watch) {
    index::Watch* const of_call = watch.is_none() ? nullptr : watch.cast<index::Watch*>();
    const py::gil_scoped_release unlocked;  // a pass over the graph
    self.compact(of_call);
}

py::dict audit(Index& self, std::size_t sample, std::uint64_t seed, unsigned threads, bool repair) {
    const index::Audit found = [&] {
        const py::gil_scoped_release unlocked;  // searches for all vectors
        return self.audit({sample, seed, threads, repair});
    }();
    py::dict faults, mended, out;
    faults["missing"] = found.faults.missing;
    faults["stale"] = found.faults.stale;
    faults["bad_links"] = found.faults.bad_links;
    faults["repeated_links"] = found.faults.repeated_links;
    faults["unreachable"] = found.faults.unreachable;
    faults["islands"] = found.faults.islands;
    faults["unrooted"] = found.faults.unrooted;
    faults["bad_entry"] = found.faults.bad_entry;
    faults["upper_unreachable"] = found.faults.upper_unreachable;
    mended["dropped_nodes"] = found.mended.dropped_nodes;
    mended["dropped_links"] = found.mended.dropped_links;
    mended["linked_nodes"] = found.mended.linked_nodes;
    mended["added_links"] = found.mended.added_links;
    out["live"] = found.live;
    out["checked"] = found.checked;
    out["faults"] = faults;
    out["lost"] = found.lost;
    out["queries"] = found.queries;
    out["recall"] = found.recall;
    out["mended"] = mended;
    out["unmended"] = found.unmended;
    return out;
}

py::tuple load(const std::string& path, const std::string& mapped) {
    const auto mapping = index::parse(index::kMappings, mapped, "mapping");
    std::uint64_t tag = 0;
    std::unique_ptr<Index> loaded;
    {
        const py::gil_scoped_release unlocked;  // reads a file, or a part of it
        loaded = Index::load(path, &tag, mapping);
    }
    return py::make_tuple(std::move(loaded), tag);
}

}  // namespace

void register_index(py::module_& module) {
    using namespace py::literals;
    py::class_<Index> index(module, "Index",
                            "Native index; llmspell.Index checks and converts for it.");
    index
        .def(
            py::init([](std::size_t dim, const std::string& metric, const std::string& dtype,
                        std::uint32_t m, std::uint32_t max_neighbors, std::uint32_t ef_construction,
                        std::uint32_t ef_search, std::uint64_t graph_threshold, std::uint64_t seed,
                        const std::string& quantization) {
                return std::make_unique<Index>(
                    dim, index::parse(index::kMetrics, metric, "metric"),
                    index::parse(index::kTypes, dtype, "dtype"),
                    index::Params{
                        m, max_neighbors, ef_construction, ef_search, graph_threshold, seed,
                        index::parse(index::kQuantizations, quantization, "quantization")});
            }),
            py::kw_only(), "dim"_a, "metric"_a, "dtype"_a, "m"_a, "max_neighbors"_a,
            "ef_construction"_a, "ef_search"_a, "graph_threshold"_a, "seed"_a, "quantization"_a)
        .def("add", &add<float>, "labels"_a.noconvert(), "vectors"_a.noconvert(), "replace"_a,
             "threads"_a)
        .def("add", &add<std::uint8_t>, "labels"_a.noconvert(), "vectors"_a.noconvert(),
             "replace"_a, "threads"_a)
        .def("remove", &remove, "labels"_a.noconvert())
        .def("get", &get, "labels"_a.noconvert())
        .def("ids", &ids)
        .def("save", &Index::save, "path"_a, "tag"_a, py::call_guard<py::gil_scoped_release>())
        .def_static("load", &load, "path"_a, "mapped"_a)
        .def("verify", &Index::verify, py::call_guard<py::gil_scoped_release>())
        .def("stats", &stats)
        .def("compact", &compact, "watch"_a = py::none())
        .def("audit", &audit, "sample"_a, "seed"_a, "threads"_a, "repair"_a)
        .def("__len__", &Index::size)
        .def("__contains__", &Index::contains, "label"_a,
             py::call_guard<py::gil_scoped_release>())  // waits for a change in progress
        .def_property_readonly("dim", &Index::dim)
        .def_property_readonly(
            "metric",
            [](const Index& self) { return index::name_of(index::kMetrics, self.metric()); })
        .def_property_readonly(
            "dtype", [](const Index& self) { return index::name_of(index::kTypes, self.type()); })
        .def_property_readonly("params", [](const Index& self) {
            const index::Params& p = self.params();
            py::dict out;
            out["m"] = p.m;
            out["ef_construction"] = p.ef_construction;
            out["ef_search"] = p.ef_search;
            out["max_neighbors"] = p.max_neighbors;
            out["graph_threshold"] = p.graph_threshold;
            out["seed"] = p.seed;
            out["quantization"] = index::name_of(index::kQuantizations, p.quantization);
            return out;
        });
    define_searches(module, index);
    define_one_search(module);
    define_calibration(module, index);
    module.def("estimate_memory", &estimate_memory, py::kw_only(), "count"_a, "dim"_a, "metric"_a,
               "dtype"_a, "m"_a, "max_neighbors"_a, "graph_threshold"_a, "quantization"_a,
               "code_groups"_a);
    module.def("check", &check, "vectors"_a.noconvert(), "metric"_a, "dtype"_a);
}

}  // namespace llmspell::bind
