// The one exception type of the core. Bindings translate each code to the class of the same name
// in llmspell/errors.py.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace llmspell {

enum class ErrorCode : std::uint8_t {
    config,
    input,
    dtype,
    shape,
    dimension_mismatch,
    non_finite_vector,
    zero_vector,
    invalid_id,
    duplicate_id,
    id_not_found,
    storage,
    corrupt_file,
    unsupported_format,
    search_timeout,
    search_cancelled,
};

class Error : public std::runtime_error {
  public:
    Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
    Error(ErrorCode code, const std::string& message, std::int64_t expected, std::int64_t actual)
        : std::runtime_error(message), code_(code), expected_(expected), actual_(actual) {}

    ErrorCode code() const noexcept { return code_; }
    // Meaningful for dimension_mismatch alone.
    std::int64_t expected() const noexcept { return expected_; }
    std::int64_t actual() const noexcept { return actual_; }

  private:
    ErrorCode code_;
    std::int64_t expected_ = 0;
    std::int64_t actual_ = 0;
};

}  // namespace llmspell
