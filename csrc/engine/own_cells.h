// Cells that were compiled apart from the engine, each in a library of its own.
#pragma once

#include <string>

#include "kernels.h"

namespace tidegate {

// What such a library is compiled of and with: a digest of the headers that it shares with the
// engine, as engine.cmake makes it; and the compiler's flags for an instruction set, or nothing for
// a set that it cannot be compiled for.
const char* own_cell_headers();
std::string own_cell_flags(const std::string& isa);

// Adds the cell of a library that was compiled for this set, and returns its name. The library
// stays for as long as the process. Throws std::runtime_error for what is no such library.
std::string load_cell(const std::string& path, const std::string& isa);

// The cell of this name, one of the set's own or one that was loaded for it; or null.
const CellKernels* find_cell(const Kernels& kernels, const std::string& name);

}  // namespace tidegate
