// What module.cpp registers; one function per file of this folder.
#pragma once

#include <pybind11/pybind11.h>

namespace llmspell::bind {

void register_errors(pybind11::module_& module);
void register_index(pybind11::module_& module);
void register_kernels(pybind11::module_& module);

}  // namespace llmspell::bind
