// Brings the ledger's file into a shape that can be used. Private to ledger.cpp.
#pragma once

#include <cstddef>

#include "ledger/ledger.hpp"

namespace llmspell::ledger {

// Checks an open file, makes it anew or larger where it must, and maps it; `bytes` are those of its
// tables, and `mapped` those of the mapping. The caller holds the file lock. Afterwards the file
// may be held exclusively.
Status prepare(int file, std::size_t table_size, const Environment& environment, std::byte*& memory,
               std::size_t& mapped, std::size_t& bytes, int& error);

}  // namespace llmspell::ledger
