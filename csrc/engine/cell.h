// What the engine knows of a cell: tables that are generated from its equations
// (equations/plan.py). Letters: H units, P projected units, G gates with an input product; N
// tokens.
#pragma once

#include <cstddef>

#include "inline.h"

namespace tidegate {

// Of a cell's states, projections and operands; and of its products and its vectors.
constexpr int kMost = 8, kMostBlocks = 16;

enum class Role { kInput, kRecurrent, kInputBias, kRecurrentBias, kVector, kProjection };

// A layer's parameter: `blocks` gates of H rows each; a projection is [P, H].
struct Parameter {
    const char* name;
    Role role;
    int blocks;
};

// What is carried from step to step: H values of a row, or P. `in_place`: the new ones may replace
// the old ones unit by unit.
struct CellState {
    const char* name;
    bool projected, in_place;
};

// What one or several products take: the state of that index as it is, or a computed value of H.
struct CellOperand {
    int state;     // or -1
    bool masked;   // by recurrent dropout
    int products;  // that take it
    int phase;     // of the step back, after which its gradient is made
    bool adds;     // to what stands there: of the gradient of an operand that is a state
};

// Where a product has its gradient: in a column of H of d_gates, in one of d_products, or in one of
// P after those.
enum class Gradient { kGates, kProducts, kProjected };

// One block of a matrix times an operand.
struct CellProduct {
    int phase, operand;
    bool projects;  // [P, H], else [H, width of the operand]
    int block;      // of the recurrent weights, or which projection
    int rank;       // among the products of its operand
    Gradient gradient;
    int column;
};

// What is computed unit by unit, of H or of P. `fused`, which only the first is: it goes on with
// each register tile of its products; else they are made for all units first. `means`: bits of the
// carried values whose means over a row it takes.
struct CellPhase {
    bool projected, fused;
    unsigned means;
};

struct Cell {
    const char* name;
    const Parameter* parameter;
    int parameters;
    const CellState* state;
    int states;
    const CellOperand* operand;
    int operands;
    const CellProduct* product;  // those of one phase and operand side by side, phase after phase
    int products;
    const CellPhase* forward;
    int forward_phases;
    const CellPhase* backward;
    int backward_phases;
    int gates, extra;           // columns of H that the forward pass leaves to the pass back
    int separate;               // columns of H of d_products
    int vectors;                // of H
    int carried, carried_back;  // values of H that stand in workspace from phase to phase

    TIDEGATE_INLINE constexpr int blocks(Role role) const {
        int sum = 0;
        for (int i = 0; i < parameters; ++i)
            if (parameter[i].role == role) sum += parameter[i].blocks;
        return sum;
    }
    TIDEGATE_INLINE constexpr int projections() const { return blocks(Role::kProjection); }
    // Whether threads that share the units of a step must meet.
    TIDEGATE_INLINE constexpr bool meets() const {
        return products > 0 || carried > 0 || carried_back > 0;
    }
};

// The classes of several cells, as generated headers name them.
template <class... C>
struct CellList {};

// H, and P where a cell projects.
struct Sizes {
    std::ptrdiff_t hidden, projected;

    TIDEGATE_INLINE std::ptrdiff_t of(bool is_projected) const {
        return is_projected ? projected : hidden;
    }
    TIDEGATE_INLINE std::ptrdiff_t of(const CellState& state) const { return of(state.projected); }
    TIDEGATE_INLINE std::ptrdiff_t of(const Cell& cell, const CellOperand& operand) const {
        return operand.state < 0 ? hidden : of(cell.state[operand.state]);
    }
    TIDEGATE_INLINE std::ptrdiff_t of(const CellProduct& product) const {
        return of(product.projects);
    }
    // What recurrent products, and so recurrent masks, see.
    TIDEGATE_INLINE std::ptrdiff_t recurrent(const Cell& cell) const {
        for (int k = 0; k < cell.operands; ++k)
            if (cell.operand[k].masked) return of(cell, cell.operand[k]);
        return hidden;
    }
    // Floats of a token's row of d_products.
    TIDEGATE_INLINE std::ptrdiff_t of_products(const Cell& cell) const {
        return cell.separate * hidden + cell.projections() * projected;
    }
};

// A layer's parameters in one direction; null what the cell, or a layer without biases, lacks.
struct Weights {
    const float *input = nullptr, *recurrent = nullptr;  // [G*H, I], [blocks*H, H or P]
    const float *input_bias = nullptr, *recurrent_bias = nullptr;
    const float* vectors[kMostBlocks] = {};  // [H] each
    const float* projections[kMost] = {};    // [P, H] each
};

// The block that a product multiplies by, and its bias or null.
TIDEGATE_INLINE const float* block_of(const Cell& cell, const Sizes& sizes, const Weights& weights,
                                      const CellProduct& product) {
    if (product.projects) return weights.projections[product.block];
    return weights.recurrent +
           product.block * sizes.hidden * sizes.of(cell, cell.operand[product.operand]);
}
TIDEGATE_INLINE const float* bias_of(const Sizes& sizes, const Weights& weights,
                                     const CellProduct& product) {
    const bool has_bias = weights.recurrent_bias && !product.projects;
    return has_bias ? weights.recurrent_bias + product.block * sizes.hidden : nullptr;
}

}  // namespace tidegate
