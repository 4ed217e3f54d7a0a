#include "bind/bind.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
    module.doc() = "Native vector index of llmspell; use llmspell.Index.";
    llmspell::bind::register_errors(module);
    llmspell::bind::register_index(module);
    llmspell::bind::register_kernels(module);
}
