// What an index is made of, counted: nodes, links and bytes.
#pragma once

#include <cstddef>
#include <vector>

namespace llmspell::index {

// Bytes by part.
struct MemoryBytes {
    std::size_t vectors = 0;       // the rows, with room for more
    std::size_t ids = 0;           // of slots, and from ids to slots
    std::size_t bottom_layer = 0;  // the graph's links, with the codes that lie beside them
    std::size_t upper_layers = 0;
    std::size_t codes = 0;
    std::size_t refined_codes = 0;  // four bits a dimension
    std::size_t codebook = 0;       // and where walks by codes start
    std::size_t scratch = 0;        // kept for the next searches
    std::size_t mapped = 0;         // of a file, besides

    std::size_t total() const noexcept {
        return vectors + ids + bottom_layer + upper_layers + codes + refined_codes + codebook +
               scratch;
    }
};

struct Stats {
    std::size_t live = 0, deleted = 0, slots = 0, capacity = 0;
    std::size_t graph_nodes = 0;
    std::vector<std::size_t> degrees;  // [d]: nodes with d links on layer 0
    std::vector<std::size_t> layers;   // [l]: nodes of layer l
    std::size_t code_groups = 0;       // RowLayout::four_bits(); 0: searches go by the vectors
    MemoryBytes memory;
};

}  // namespace llmspell::index
