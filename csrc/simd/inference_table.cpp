// What a set for inference alone has: products with 8-bit factors, and time loops forward. Compiled
// as table.cpp is.
#include "engine/kernels.h"

#include "forward.h"
#include "generated/cells.h"

#define TIDEGATE_STRING_(x) #x
#define TIDEGATE_STRING(x) TIDEGATE_STRING_(x)

namespace tidegate::TIDEGATE_ISA {
namespace {

std::ptrdiff_t workspace_floats(const Cell& cell, const Sizes& sizes, std::ptrdiff_t rows,
                                bool per_gate) {
    return forward_workspace_floats(cell, sizes, rows, per_gate);
}

template <class List>
struct LoopsOf;

template <class... C>
struct LoopsOf<CellList<C...>> {
    static constexpr CellKernels cells[] = {{&C::kCell, forward_sweep<C>, nullptr}...};
    static constexpr int count = sizeof...(C);
};

constexpr Kernels forward_only() {
    Kernels kernels{};
    kernels.isa = TIDEGATE_STRING(TIDEGATE_ISA);
    kernels.rounded = kRounded;
    kernels.affine_panel_floats = rounded_affine_floats;
    kernels.pack_affine = pack_rounded_affine;
    kernels.affine_workspace_floats = rounded_affine_workspace;
    kernels.affine = rounded_affine;
    kernels.forward_panel_floats = forward_panel_floats;
    kernels.pack_forward = pack_forward;
    kernels.workspace_floats = workspace_floats;
    kernels.cells = LoopsOf<EngineCells>::cells;
    kernels.cell_count = LoopsOf<EngineCells>::count;
    return kernels;
}

}  // namespace

extern const Kernels table;
const Kernels table = forward_only();

}  // namespace tidegate::TIDEGATE_ISA
