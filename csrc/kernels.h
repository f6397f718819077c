// The contract between the kernels and their callers: plain pointers and sizes.
#pragma once

#include <cstddef>
#include <vector>

namespace tidegate {

// y[i] = f(x[i]) for i < count; y may be x. Any alignment.
using Elementwise = void (*)(const float* x, float* y, std::ptrdiff_t count);

// Everything compiled once per instruction set.
struct Kernels {
    const char* isa;
    Elementwise exp, tanh, sigmoid;
};

// Largest errors in units in the last place, as stated in simd.h.
struct ErrorBounds {
    double exp, tanh, sigmoid;
};
extern const ErrorBounds kErrorBounds;

// The sets this machine can run, plainest first.
std::vector<const Kernels*> available_kernels();

// The set in use: the best available, or the one the environment variable TIDEGATE_ISA names.
// Throws std::invalid_argument if that name is unknown or not available here.
const Kernels& kernels();

// Replaces the set in use, for the whole process; throws as above.
void select_isa(const char* name);

}  // namespace tidegate
