// Compiled once per instruction set (TIDEGATE_ISA). No standard containers or algorithms in here:
// their inline functions would be shared with code for other instruction sets.
#include "kernels.h"

#include "generated/cells.h"
#include "product.h"
#include "sequence.h"
#include "simd.h"
#include "softmax.h"
#include "staged.h"

#define TIDEGATE_STRING_(x) #x
#define TIDEGATE_STRING(x) TIDEGATE_STRING_(x)

namespace tidegate::TIDEGATE_ISA {
namespace {

template <Vec (*function)(Vec)>
void elementwise(const float* x, float* y, std::ptrdiff_t count) {
    std::ptrdiff_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(y + i, function(load(x + i)));
    if (i < count) store_first(y + i, function(load_first(x + i, count - i)), count - i);
}

template <class Cell>
constexpr CellKernels cell_kernels() {
    return {Cell::kName,
            Cell::kGates,
            Cell::kStates,
            Cell::kExtra,
            Cell::kSeparate,
            Cell::kGates,
            Cell::kSlot,
            forward_panel_floats<Cell>,
            backward_panel_floats<Cell>,
            pack_forward<Cell>,
            pack_backward<Cell>,
            workspace_floats<Cell>,
            forward_sweep<Cell>,
            backward_sweep<Cell>};
}

template <class Cell>
constexpr CellKernels staged_kernels() {
    return {Cell::kName,
            Cell::kGates,
            Cell::kStates,
            Cell::kExtra,
            Cell::kSeparate,
            Cell::kFirst,
            Cell::kSlot,
            forward_panel_floats<Cell>,
            staged_backward_panel_floats<Cell>,
            pack_staged_forward<Cell>,
            pack_staged_backward<Cell>,
            workspace_floats<Cell>,
            staged_forward_sweep<Cell>,
            staged_backward_sweep<Cell>};
}

constexpr CellKernels cells[] = {cell_kernels<RnnTanh>(), cell_kernels<RnnRelu>(),
                                 cell_kernels<Lstm>(), cell_kernels<Gru>(),
                                 staged_kernels<GruResetBefore>()};

}  // namespace

extern const Kernels table;
const Kernels table{TIDEGATE_STRING(TIDEGATE_ISA),
                    elementwise<exp>,
                    elementwise<tanh>,
                    elementwise<sigmoid>,
                    affine_panel_floats,
                    pack_affine,
                    kRounded ? nullptr : affine,
                    product_workspace_floats,
                    multiply,
                    softmax_cross_entropy,
                    cells,
                    static_cast<int>(sizeof cells / sizeof *cells)};

}  // namespace tidegate::TIDEGATE_ISA
