// The kernels of each instruction set, as plain functions of pointers and sizes, and which set
// runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sweeps.h"

namespace tidegate {

// y[i] = f(x[i]) for i < count; y may be x. Any alignment.
using Elementwise = void (*)(const float* x, float* y, std::ptrdiff_t count);

// One cell's time loops.
struct CellKernels {
    const Cell* cell;
    void (*forward)(const ForwardSweep&);
    void (*backward)(const BackwardSweep&);
};

// A matrix, `stride` floats from one row to the next, or the transpose of what stands there.
struct Operand {
    const float* data;
    std::ptrdiff_t stride;
    bool transposed;
};

// c [rows, columns] = a [rows, depth] b [depth, columns] + bias [columns] or null; with `adds` what
// stands in c instead of a bias.
struct Product {
    Operand a, b;
    const float* bias;
    float* c;
    std::ptrdiff_t stride;  // from one row of c to the next
    std::ptrdiff_t rows, columns, depth;
    bool adds;
};

// Everything compiled once per instruction set.
struct Kernels {
    const char* isa;
    bool rounded;  // factors of products, to bfloat16 or, of the set for inference, to 8 bits
    Elementwise exp, tanh, sigmoid, log, rsqrt, erf;
    // y [rows, outputs] = x [rows, inputs] W^T + b with W [outputs, inputs] and b (or null) packed
    // before, 64-byte aligned, and workspace of its own.
    std::ptrdiff_t (*affine_panel_floats)(std::ptrdiff_t outputs, std::ptrdiff_t inputs);
    void (*pack_affine)(const float* weight, const float* bias, std::ptrdiff_t outputs,
                        std::ptrdiff_t inputs, float* panels, int part, int parts);
    std::ptrdiff_t (*affine_workspace_floats)(std::ptrdiff_t outputs, std::ptrdiff_t inputs);
    void (*affine)(const float* x, std::ptrdiff_t rows, const float* panels, std::ptrdiff_t outputs,
                   std::ptrdiff_t inputs, float* y, float* workspace);
    // For products of thousands of rows or factors. See product.h.
    std::ptrdiff_t (*product_workspace_floats)(std::ptrdiff_t columns);
    void (*multiply)(const Product& product, float* workspace);
    // logits: [rows, words], words >= 1, replaced by their gradient if `gradient`; targets: [rows],
    // each in 0 .. words - 1; nats: [rows] out. See softmax.h.
    void (*softmax_cross_entropy)(float* logits, std::ptrdiff_t rows, std::ptrdiff_t words,
                                  const std::int64_t* targets, float* nats, bool gradient);
    // Weights packed for the time loops, 64-byte aligned; share `part` of `parts`.
    std::ptrdiff_t (*forward_panel_floats)(const Cell& cell, const Sizes& sizes);
    std::ptrdiff_t (*backward_panel_floats)(const Cell& cell, const Sizes& sizes);
    void (*pack_forward)(const Cell& cell, const Sizes& sizes, const Weights& weights,
                         float* panels, int part, int parts);
    void (*pack_backward)(const Cell& cell, const Sizes& sizes, const Weights& weights,
                          float* panels, int part, int parts);
    // For sweeps over `rows` rows, forward or back.
    std::ptrdiff_t (*workspace_floats)(const Cell& cell, const Sizes& sizes, std::ptrdiff_t rows,
                                       bool per_gate);
    const CellKernels* cells;
    int cell_count;
};

// Largest errors in units in the last place, as stated in simd/math.h.
struct ErrorBounds {
    double exp, tanh, sigmoid, log, rsqrt, erf;
};
extern const ErrorBounds kErrorBounds;

// The sets this machine can run, plainest first.
std::vector<const Kernels*> available_kernels();

// The set in use: the best available, or the one the environment variable TIDEGATE_ISA names.
// Throws std::invalid_argument if that name is unknown or not available here.
const Kernels& kernels();

// The sets whose products have factors rounded to bfloat16 (rounded.h), the fastest last.
std::vector<const Kernels*> available_rounding_kernels();

// The last of them; null where there is none or another set than the best is in use.
const Kernels* rounding_kernels();

// How a layer for inference rounds the factors of its products.
enum class Factors { kFloat32, kBfloat16, kInt8 };

// The set that rounds so; null where this machine has none, or another set than the best is in use.
// That of kInt8 has no way back: null in its table.
const Kernels* inference_kernels(Factors factors);

// Replaces the set in use, for the whole process; throws as above.
void select_isa(const char* name);

}  // namespace tidegate
