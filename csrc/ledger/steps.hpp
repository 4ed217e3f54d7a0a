// Between any two stores of a reservation lies a step, where the tests let a process die.
#pragma once

namespace llmspell::ledger {

#if defined(LLMSPELL_LEDGER_STEPS)
void step() noexcept;
#else
inline void step() noexcept {}
#endif

}  // namespace llmspell::ledger
