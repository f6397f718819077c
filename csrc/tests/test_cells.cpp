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

#define TIDEGATE_KERNELS(C) CellKernels{&C::kCell, forward_sweep<C>, backward_sweep<C>},
constexpr CellKernels cells[] = {TIDEGATE_FOR_EACH_TEST_CELL(TIDEGATE_KERNELS)};

const bool added = (tests::add_test_cells(TIDEGATE_STRING(TIDEGATE_ISA), cells,
                                          static_cast<int>(sizeof cells / sizeof *cells)),
                    true);

}  // namespace
}  // namespace tidegate::TIDEGATE_ISA
