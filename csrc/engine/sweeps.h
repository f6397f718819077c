// What one thread's time loop is given, forward and back: pointers and sizes.
// Letters: H units, G gates, W the width of a state or an operand; N tokens; n rows of a part.
// Everything is float32, row-major and dense.
#pragma once

#include <cstdint>

#include "cell.h"

namespace tidegate {

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

    TIDEGATE_INLINE std::ptrdiff_t begin(std::ptrdiff_t panels) const {
        return panels * index / count;
    }
    TIDEGATE_INLINE std::ptrdiff_t end(std::ptrdiff_t panels) const {
        return panels * (index + 1) / count;
    }
    TIDEGATE_INLINE void wait() const {
        if (count > 1) meet(team);
    }
};

// What recurrent products see is scaled by this. One for all gates, or one for each.
struct Mask {
    const float* data = nullptr;  // [n, W], `stride` floats from one gate's to the next; or null
    std::ptrdiff_t stride = 0;
    bool per_gate = false;

    TIDEGATE_INLINE const float* of(int block) const {
        return data ? data + (per_gate ? block * stride : 0) : data;
    }
};

// All pointers outlive the call.
struct ForwardSweep {
    Rows rows;
    std::ptrdiff_t most_rows;  // n
    Sizes sizes;
    const float* panels;                // packed by pack_forward
    const float* vectors[kMostBlocks];  // [H] each
    Mask mask;
    float* gates;  // [N, G*H] in: W_ih x + b_ih; out, in training: what replaces it
    float* extra;  // [N, extra*H] out, in training only
    // [n, W] each, in turn: in [0] a state at first, then in [1] the next, ...; the two may be one
    // where the cell says so. In training the output alone has them.
    float* states[kMost][2];
    const float* state0[kMost];  // [n, W], in training, of the other states
    float* kept[kMost];          // [N, W] out, in training: the other states of every step
    float* y;                    // [rows, W] out: the first state after every step
    const std::int64_t* place;   // [N] row of each token in y; null: the token's own
    // Of an operand that is computed, or masked: [n, W] for each mask, in turn as the states
    float* operands[kMost][2];
    float* carried;         // [n, carried*H] of workspace
    float* workspace;       // of workspace_floats
    Share share{};          // of the units; all of them where factors are rounded
    bool training = false;  // whether gates, extra and states are kept for the way back
};

struct BackwardSweep {
    Rows rows;
    std::ptrdiff_t most_rows;
    Sizes sizes;
    const float* panels;                // packed by pack_backward
    const float* vectors[kMostBlocks];  // as in the forward sweep, and mask
    Mask mask;
    const float* state0[kMost];  // [n, W] each: the states at first
    const float* gates;          // as the forward sweep left them, and extra and states
    const float* extra;
    const float* states[kMost];  // y, and what was kept
    const std::int64_t* place;   // [N] row of each token in y and d_y; null: the token's own
    const float* d_y;            // [rows, W] or null for zeros
    float* d_states[kMost];      // [n, W] in: dL/d(final state); out: dL/d(initial state)
    float* d_gates;              // [N, G*H] out: dL/d(W_ih x + b_ih)
    float* d_products;           // [N, separate*H + projections*P] out: of the others
    float* sums;                 // [(G + separate + vectors)*H] in: zeros; out: over all tokens
    float* operands[kMost];      // [N, masks*W] out: what each product saw; null: not wanted
    float* d_operands[kMost];    // [n, H] of workspace, of each operand that is computed
    float* carried;              // [n, carried_back*H] of workspace
    bool needs_d_state0;         // false: d_states of what products take is left unfinished
    float* workspace;            // of workspace_floats
    Share share{};               // as in the forward sweep
};

}  // namespace tidegate
