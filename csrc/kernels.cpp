// Compiled once per instruction set (TIDEGATE_ISA). No standard containers or algorithms in here:
// their inline functions would be shared with code for other instruction sets.
#include "kernels.h"

#include "simd.h"

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

}  // namespace

extern const Kernels table;
const Kernels table{TIDEGATE_STRING(TIDEGATE_ISA), elementwise<exp>, elementwise<tanh>,
                    elementwise<sigmoid>};

}  // namespace tidegate::TIDEGATE_ISA
