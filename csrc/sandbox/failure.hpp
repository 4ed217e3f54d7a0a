// How a step that confines the process says that it failed: nothing after it may run.
#pragma once

namespace llmspell::sandbox {

// No allocation: it is made between fork and the tool. `step` is a literal; null where all is done.
struct Failure {
    const char* step = nullptr;
    int error = 0;  // as errno has it

    explicit operator bool() const noexcept { return step != nullptr; }
};

}  // namespace llmspell::sandbox
