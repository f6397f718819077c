// The two passes of training: one layer in one direction over a batch.
// Arrays of a whole batch; [B, ...] ones in the caller's order of rows, [N, ...] ones by token.
// Letters: W the width of a state or an operand.
#pragma once

#include "kernels.h"
#include "part.h"
#include "schedule.h"

namespace tidegate {

// Keeps what backward() needs.
struct ForwardCall {
    Sizes sizes;
    Weights weights;
    BatchMask mask;
    const float* state0[kMost];  // [B, W]
    float *gates, *extra;        // [N, G*H], [N, extra*H]
    float* states[kMost];        // y: [T, B, W], zero from each length on; the others: [N, W]
    float* final[kMost];         // [B, W]
};
void forward(const Kernels& kernels, const CellKernels& cell, const Schedule& schedule,
             const ForwardCall& call);

struct BackwardCall {
    Sizes sizes;
    Weights weights;  // without biases
    BatchMask mask;
    const float* state0[kMost];
    const float *gates, *extra;
    const float* states[kMost];              // as forward() left them
    const float* d_y;                        // [T, B, W] or null
    const float* d_final[kMost];             // [B, W] or null
    float *d_gates, *d_products;             // [N, G*H], [N, separate*H + projections*P]
    float* d_state0[kMost];                  // [B, W]
    float *d_input_bias, *d_recurrent_bias;  // [G*H], [blocks*H]; or null
    float* d_vectors[kMostBlocks];           // [H] each, or null
    // What each operand's products saw: [N, W], or with a mask for each gate [N, products*W]; null
    // where it is not wanted, which may be of an operand that is a state.
    float* operands[kMost];
    bool needs_d_state0;
};
void backward(const Kernels& kernels, const CellKernels& cell, const Schedule& schedule,
              const BackwardCall& call);

}  // namespace tidegate
