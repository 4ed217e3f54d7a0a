#include "index/types.hpp"

namespace llmspell::index {

void check_types(Metric metric, simd::ElementType type, Quantization quantization) {
    const auto quoted = [](const char* name) { return "'" + std::string(name) + "'"; };
    const std::string of_metric = quoted(name_of(kMetrics, metric));
    const std::string of_type = quoted(name_of(kTypes, type));
    const bool bits = type == simd::ElementType::binary;
    if (bits != (metric == Metric::hamming)) {
        throw Error(
            ErrorCode::config,
            "dtype 'binary' and metric 'hamming' go together and with no other, got dtype " +
                of_type + " and metric " + of_metric);
    }
    if (quantization != Quantization::none && (bits || metric == Metric::l1)) {
        throw Error(ErrorCode::config,
                    "quantization " + quoted(name_of(kQuantizations, quantization)) +
                        " is for metric 'ip', 'cosine' or 'l2', not " + of_metric);
    }
}

}  // namespace llmspell::index
