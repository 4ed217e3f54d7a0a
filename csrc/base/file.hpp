// Whole files: read at once, written so that a crash leaves the old one or the new one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace llmspell {

// Throws Error(storage) with the path and the system's message.
std::vector<std::byte> read_file(const std::string& path);

// Writes beside, fsyncs, renames over `path`, fsyncs the directory.
void write_file_atomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts);

}  // namespace llmspell
