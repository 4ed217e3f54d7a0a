// The answer to one query.
#pragma once

#include <cstddef>
#include <vector>

#include "index/index.hpp"

// The labels of the k nearest, or of as many as there are.
inline std::vector<llmspell::index::Label> nearest_labels(const llmspell::index::Index& index,
                                                          const std::vector<float>& query,
                                                          std::size_t k) {
    llmspell::index::SearchOptions options;
    options.k = k;
    std::vector<llmspell::index::Label> labels(k);
    std::vector<float> scores(k);
    std::size_t found = 0;
    index.search(query.data(), 1, options, labels.data(), scores.data(), &found);
    labels.resize(found);
    return labels;
}
