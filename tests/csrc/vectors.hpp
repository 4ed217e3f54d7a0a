// Vectors for the index tests: seeded, around a few centres, one in ten a copy of another.
#pragma once

#include <cstddef>
#include <vector>

#include "base/random.hpp"
#include "index/storage.hpp"

inline std::vector<float> make_vectors(std::size_t count, std::size_t dim, std::uint64_t seed) {
    constexpr std::size_t kCentres = 7;
    llmspell::SplitMix64 random(seed);
    std::vector<float> vectors(count * dim);
    for (std::size_t i = 0; i < count; ++i) {
        if (i % 10 == 9) {
            for (std::size_t j = 0; j < dim; ++j) vectors[i * dim + j] = vectors[(i - 5) * dim + j];
            continue;
        }
        llmspell::SplitMix64 centre(random() % kCentres);
        for (std::size_t j = 0; j < dim; ++j) {
            vectors[i * dim + j] = static_cast<float>(centre.unit() - 0.5 + 0.2 * random.unit());
        }
    }
    return vectors;
}

inline std::vector<llmspell::index::Label> make_labels(std::size_t count, std::size_t first = 0) {
    std::vector<llmspell::index::Label> labels(count);
    for (std::size_t i = 0; i < count; ++i) labels[i] = first + i;
    return labels;
}

// One vector, in its place at once; there is room for it.
inline llmspell::index::Slot put(llmspell::index::Storage& storage, llmspell::index::Label label,
                                 const void* vector) {
    const llmspell::index::Slot slot = storage.stage(label, vector);
    storage.publish(slot);
    return slot;
}
