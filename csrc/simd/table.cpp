// Compiled once per instruction set (TIDEGATE_ISA). No standard containers or algorithms in here:
// their inline functions would be shared with code for other instruction sets.
#include "engine/kernels.h"

#include "backward.h"
#include "forward.h"
#include "generated/cells.h"
#include "math.h"
#include "product.h"
#include "softmax.h"

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

std::ptrdiff_t workspace_floats(const Cell& cell, const Sizes& sizes, std::ptrdiff_t rows,
                                bool per_gate) {
    const std::ptrdiff_t forward = forward_workspace_floats(cell, sizes, rows, per_gate);
    const std::ptrdiff_t backward = backward_workspace_floats(cell, sizes, rows);
    return forward > backward ? forward : backward;
}

}  // namespace

extern const Kernels table;
const Kernels table{TIDEGATE_STRING(TIDEGATE_ISA),
                    kRounded,
                    elementwise<exp>,
                    elementwise<tanh>,
                    elementwise<sigmoid>,
                    elementwise<log>,
                    elementwise<rsqrt>,
                    elementwise<erf>,
                    kRounded ? rounded_affine_floats : affine_panel_floats,
                    kRounded ? pack_rounded_affine : pack_affine,
                    kRounded ? rounded_affine_workspace : affine_workspace,
                    kRounded ? rounded_affine : affine,
                    product_workspace_floats,
                    multiply,
                    softmax_cross_entropy,
                    forward_panel_floats,
                    backward_panel_floats,
                    pack_forward,
                    pack_backward,
                    workspace_floats,
                    KernelsOf<EngineCells>::cells,
                    KernelsOf<EngineCells>::count};

}  // namespace tidegate::TIDEGATE_ISA
