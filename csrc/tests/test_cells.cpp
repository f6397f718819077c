// Compiled once per instruction set (TIDEGATE_ISA), as simd/table.cpp is.
#include "generated/cells.h"
#include "simd/backward.h"
#include "simd/forward.h"

#define TIDEGATE_STRING_(x) #x
#define TIDEGATE_STRING(x) TIDEGATE_STRING_(x)

namespace tests {
void add_test_cells(const char* isa, const tidegate::CellKernels* cells, int count);
}

namespace tidegate::TIDEGATE_ISA {
namespace {

using Test = KernelsOf<TestCells>;
const bool added =
    (tests::add_test_cells(TIDEGATE_STRING(TIDEGATE_ISA), Test::cells, Test::count), true);

}  // namespace
}  // namespace tidegate::TIDEGATE_ISA
