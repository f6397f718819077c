// The cells of cells.py, compiled for every instruction set.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/kernels.h"

namespace tests {

// By the name of the set.
inline std::map<std::string, std::vector<tidegate::CellKernels>>& test_cells() {
    static std::map<std::string, std::vector<tidegate::CellKernels>> all;
    return all;
}

// Those of the engine, and these.
inline std::vector<tidegate::CellKernels> all_cells(const tidegate::Kernels& kernels) {
    std::vector<tidegate::CellKernels> all(kernels.cells, kernels.cells + kernels.cell_count);
    for (const tidegate::CellKernels& each : test_cells()[kernels.isa]) all.push_back(each);
    return all;
}

// Called as the program starts; no standard container is made there, as in simd/table.cpp.
void add_test_cells(const char* isa, const tidegate::CellKernels* cells, int count);

}  // namespace tests
