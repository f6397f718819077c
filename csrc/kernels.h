// The contract between the kernels and their callers: plain pointers and sizes.
// Letters: T time, B batch, H hidden, G gates; N tokens. Everything float32 is row-major and dense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidegate {

// y[i] = f(x[i]) for i < count; y may be x. Any alignment.
using Elementwise = void (*)(const float* x, float* y, std::ptrdiff_t count);

// The rows one thread runs, longest first. At step s (in the direction of reading) its rows
// 0 .. count[s] - 1 are alive, and row j's token is start[s] + j; count never grows.
struct Rows {
    std::ptrdiff_t steps;
    const std::int64_t* start;  // [steps]
    const std::int64_t* count;  // [steps]
};

// Of a sweep's units, cut into panels, what one of `count` threads takes that make it side by side.
struct Share {
    int index = 0, count = 1;
    void (*meet)(void* team) = nullptr;  // returns once every one of them has called it
    void* team = nullptr;

    std::ptrdiff_t begin(std::ptrdiff_t panels) const { return panels * index / count; }
    std::ptrdiff_t end(std::ptrdiff_t panels) const { return panels * (index + 1) / count; }
    void wait() const {
        if (count > 1) meet(team);
    }
};

// One thread's forward sweep over its n = rows.count[0] rows. All pointers outlive the call.
struct ForwardSweep {
    Rows rows;
    std::ptrdiff_t hidden;
    const float* panels;  // W_hh and b_hh, packed by pack_forward
    const float* mask;    // [n, H] what W_hh sees of the state is scaled by it; or null
    float* gates;         // [N, G*H] in: W_ih x + b_ih; out, in training: the saved gates
    float* extra;         // [N, extra*H] out, in training only
    float* h[2];       // [n, H] each, in turn: in [0] the state at first, then in [1] the next, ...
    float* masked[2];  // [n, H] of workspace each, if mask
    const float* c0;   // [n, H], if the cell has a second state
    float* c;          // [N, H] out, in training; else [n, H], in place: c0 itself
    float* y;          // [rows, H] out: h after every step
    const std::int64_t* place;  // [N] row of each token in y; null: the token's own
    float* operand;             // [n, H] of workspace, if the cell is staged
    float* workspace;           // of workspace_floats(hidden, n)
    Share share{};              // of the units; all of them where factors are rounded
    bool training = false;      // whether gates, extra and c are kept for the way back
};

// One thread's sweep back through time.
struct BackwardSweep {
    Rows rows;
    std::ptrdiff_t hidden;
    const float* panels;     // W_hh, packed by pack_backward
    const float* mask;       // as in the forward sweep
    const float* state0[2];  // [n, H] each: h and c at first
    const float* gates;      // as the forward sweep left them, and extra and states[1]
    const float* extra;
    const float* states[2];
    const std::int64_t* place;  // [N] row of each token in states[0] and d_y; null: the token's own
    const float* d_y;           // [rows, H] or null for zeros
    float* d_states[2];         // [n, H] in: dL/d(final state); out: dL/d(initial state)
    float* d_gates;             // [N, G*H] out: dL/d(W_ih x + b_ih)
    float* d_products;  // [N, separate*H] out: dL/d(W_hh h + b_hh) of the gates where it differs
    float* d_bias;      // [(G + separate)*H] in: zeros; out: sums over the tokens of these two
    float* operand;     // [N, H] out: what W_hh saw of the state; or null if not wanted
    float* second_operand;  // [N, H] out: what the second product saw, if the cell is staged
    float* d_operand;       // [n, H] of workspace, if the cell is staged
    bool needs_d_state0;    // false: d_states[0] is left unfinished
    float* workspace;       // of workspace_floats(hidden, n)
    Share share{};          // as in the forward sweep
};

// One cell's kernels. Panels are 64-byte aligned; packing is shared by `parts` callers.
struct CellKernels {
    const char* name;
    int gates, states, extra, separate;
    int first;        // gates whose recurrent product takes the state; the others': see staged.h
    const int* slot;  // [gates] where d_products has a gate's gradient, -1: it is in d_gates
    std::ptrdiff_t (*forward_panel_floats)(std::ptrdiff_t hidden);
    std::ptrdiff_t (*backward_panel_floats)(std::ptrdiff_t hidden);
    void (*pack_forward)(const float* weight_hh, const float* bias_hh, std::ptrdiff_t hidden,
                         float* panels, int part, int parts);
    void (*pack_backward)(const float* weight_hh, std::ptrdiff_t hidden, float* panels, int part,
                          int parts);
    std::ptrdiff_t (*workspace_floats)(std::ptrdiff_t hidden, std::ptrdiff_t rows);
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
    Elementwise exp, tanh, sigmoid;
    // y [rows, outputs] = x [rows, inputs] W^T + b with W [outputs, inputs] and b (or null) packed
    // before, 64-byte aligned; `affine` is null in the sets that round, which only train.
    std::ptrdiff_t (*affine_panel_floats)(std::ptrdiff_t outputs, std::ptrdiff_t inputs);
    void (*pack_affine)(const float* weight, const float* bias, std::ptrdiff_t outputs,
                        std::ptrdiff_t inputs, float* panels, int part, int parts);
    void (*affine)(const float* x, std::ptrdiff_t rows, const float* panels, std::ptrdiff_t outputs,
                   std::ptrdiff_t inputs, float* y);
    // For products of thousands of rows or factors. See product.h.
    std::ptrdiff_t (*product_workspace_floats)(std::ptrdiff_t columns);
    void (*multiply)(const Product& product, float* workspace);
    // logits: [rows, words], words >= 1, replaced by their gradient if `gradient`; targets: [rows],
    // each in 0 .. words - 1; nats: [rows] out. See softmax.h.
    void (*softmax_cross_entropy)(float* logits, std::ptrdiff_t rows, std::ptrdiff_t words,
                                  const std::int64_t* targets, float* nats, bool gradient);
    const CellKernels* cells;
    int cell_count;
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

// The sets whose products have factors rounded to bfloat16 (rounded.h), the fastest last.
std::vector<const Kernels*> available_rounding_kernels();

// The last of them; null where there is none or another set than the best is in use.
const Kernels* rounding_kernels();

// Whether Intel made this processor.
bool is_intel();

// Replaces the set in use, for the whole process; throws as above.
void select_isa(const char* name);

}  // namespace tidegate
