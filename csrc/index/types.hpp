// Names of metrics, element types, quantizations and mappings, and which of them go together.
#pragma once

#include <string>
#include <string_view>

#include "index/params.hpp"
#include "simd/kernels.hpp"

namespace llmspell::index {

template <class Enum>
struct Named {
    const char* name;
    Enum value;
};

inline constexpr Named<Metric> kMetrics[] = {{"ip", Metric::ip},
                                             {"cosine", Metric::cosine},
                                             {"l2", Metric::l2},
                                             {"l1", Metric::l1},
                                             {"hamming", Metric::hamming}};
inline constexpr Named<simd::ElementType> kTypes[] = {{"float32", simd::ElementType::f32},
                                                      {"float16", simd::ElementType::f16},
                                                      {"int8", simd::ElementType::i8},
                                                      {"bfloat16", simd::ElementType::bf16},
                                                      {"binary", simd::ElementType::binary}};
inline constexpr Named<Quantization> kQuantizations[] = {
    {"none", Quantization::none}, {"pq", Quantization::pq}, {"sq4", Quantization::sq4}};
inline constexpr Named<Mapping> kMappings[] = {
    {"none", Mapping::none}, {"vectors", Mapping::vectors}, {"all", Mapping::all}};

// Throws Error(config) where no entry has the name; `what` is for the message.
template <class Enum, std::size_t N>
Enum parse(const Named<Enum> (&table)[N], std::string_view name, const char* what) {
    std::string known;
    for (const Named<Enum>& entry : table) {
        if (name == entry.name) return entry.value;
        known += (known.empty() ? "'" : ", '") + std::string(entry.name) + "'";
    }
    throw Error(ErrorCode::config, "unknown " + std::string(what) + " '" + std::string(name) +
                                       "'; there are " + known);
}

template <class Enum, std::size_t N>
const char* name_of(const Named<Enum> (&table)[N], Enum value) {
    for (const Named<Enum>& entry : table) {
        if (value == entry.value) return entry.name;
    }
    return "";
}

// Throws Error(config) where no index can be of all three.
void check_types(Metric metric, simd::ElementType type, Quantization quantization);

}  // namespace llmspell::index
