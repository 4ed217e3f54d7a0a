#include "index/stats.hpp"

#include "index/access.hpp"
#include "index/index.hpp"

namespace llmspell::index {
namespace {

void count_links(const Graph& graph, Stats& stats) {
    stats.degrees.resize(graph.empty() ? 0 : graph.degree_limit(0) + 1);
    for (Slot slot = 0; slot < graph.slots(); ++slot) {
        if (!graph.contains(slot)) continue;
        const std::size_t links = graph.degree(slot);
        ++stats.graph_nodes;
        ++stats.degrees[links];
        const auto layers = static_cast<std::size_t>(graph.level(slot)) + 1;
        if (stats.layers.size() < layers) stats.layers.resize(layers);
        for (std::size_t layer = 0; layer < layers; ++layer) ++stats.layers[layer];
    }
}

}  // namespace

Stats Index::stats() const {
    const SharedLock lock(*this);
    Stats stats;
    stats.live = storage_.live();
    stats.deleted = storage_.deleted();
    stats.slots = storage_.slots();
    stats.capacity = storage_.capacity();
    count_links(graph_, stats);
    MemoryBytes& memory = stats.memory;
    memory.vectors = storage_.row_bytes();
    memory.ids = storage_.bytes() - memory.vectors;
    memory.mapped = storage_.mapped_bytes() + graph_.mapped_bytes();
    if (coded_) memory.mapped += coded_->mapped_bytes();
    memory.upper_layers = graph_.upper_bytes();
    memory.bottom_layer = graph_.bytes() - memory.upper_layers;
    if (coded_) {
        if (coded_->useful()) stats.code_groups = coded_->codes().layout().four_bits();
        memory.refined_codes = coded_->refined_bytes();
        memory.codes = coded_->codes().bytes() - coded_->codes().codebook().bytes();
        memory.codebook = coded_->bytes() - memory.codes - memory.refined_codes;
    }
    const std::lock_guard<std::mutex> guard(contexts_mutex_);
    for (const auto& context : contexts_) memory.scratch += context->bytes();
    memory.scratch += filters_.bytes() + calibration_.bytes();
    return stats;
}

}  // namespace llmspell::index
