// The products of one step, forward, for any cell: weights packed, and their products with the
// operands of all rows. Compiled once for all cells.
#pragma once

#include "affine.h"
#include "engine/kernels.h"
#include "rounded.h"

namespace tidegate::TIDEGATE_ISA {

// Whether the products of a phase are packed side by side, so that a register tile ends with all of
// them for some units.
TIDEGATE_INLINE bool is_side_by_side(const Cell& cell, int phase) {
    return cell.forward[phase].fused && !kRounded;
}

// The products from `first` on that take the same operand in the same phase.
inline int count_alike(const Cell& cell, int first) {
    const CellProduct& product = cell.product[first];
    int count = 1;
    while (first + count < cell.products && cell.product[first + count].phase == product.phase &&
           cell.product[first + count].operand == product.operand)
        ++count;
    return count;
}

inline int count_in_phase(const Cell& cell, int phase) {
    int count = 0;
    for (int j = 0; j < cell.products; ++j) count += cell.product[j].phase == phase;
    return count;
}

// Panels of `count` products alike; where factors are rounded, each one's outputs in whole tiles:
// their biases, then their tiles.
inline Index forward_floats(const Cell& cell, const Sizes& sizes, int first, int count) {
    const CellProduct& product = cell.product[first];
    const Index outputs = sizes.of(product), inputs = sizes.of(cell, cell.operand[product.operand]);
    if constexpr (kRounded)
        return count * (round_up(outputs, kTile) + rounded_panel_floats(outputs, inputs));
    return count * affine_panel_floats(outputs, inputs);
}

inline Index forward_panel_floats(const Cell& cell, const Sizes& sizes) {
    Index sum = 0;
    for (int j = 0; j < cell.products; ++j) sum += forward_floats(cell, sizes, j, 1);
    return sum;
}

inline void pack_rounded_products(const Cell& cell, const Sizes& sizes, const Weights& weights,
                                  int first, int count, float* packed, int part, int parts) {
    for (int i = 0; i < count; ++i) {
        const CellProduct& product = cell.product[first + i];
        const Index outputs = sizes.of(product), width = round_up(outputs, kTile),
                    inputs = sizes.of(cell, cell.operand[product.operand]);
        const float* bias = bias_of(sizes, weights, product);
        if (part == 0)
            for (Index at = 0; at < width; ++at)
                packed[i * width + at] = bias && at < outputs ? bias[at] : 0.0f;
        pack_rounded_columns(block_of(cell, sizes, weights, product), inputs, outputs, inputs,
                             packed + count * width + i * rounded_panel_floats(outputs, inputs),
                             part, parts);
    }
}

inline void pack_forward(const Cell& cell, const Sizes& sizes, const Weights& weights,
                         float* packed, int part, int parts) {
    for (int j = 0; j < cell.products;) {
        const CellProduct& product = cell.product[j];
        const bool together = kRounded || is_side_by_side(cell, product.phase);
        const int count = together ? count_alike(cell, j) : 1;
        if constexpr (kRounded) {
            pack_rounded_products(cell, sizes, weights, j, count, packed, part, parts);
        } else {
            const float *blocks[kMostBlocks], *biases[kMostBlocks];
            for (int i = 0; i < count; ++i) {
                blocks[i] = block_of(cell, sizes, weights, cell.product[j + i]);
                biases[i] = bias_of(sizes, weights, cell.product[j + i]);
            }
            pack_matrices(blocks, biases, count, sizes.of(product),
                          sizes.of(cell, cell.operand[product.operand]), packed, part, parts);
        }
        packed += forward_floats(cell, sizes, j, count);
        j += count;
    }
}

// The units of a phase as threads share them.
inline Panels phase_panels(const Cell& cell, const Sizes& sizes, int phase) {
    const int widest =
        is_side_by_side(cell, phase) ? matrices_width(count_in_phase(cell, phase)) : kAffineWidth;
    return Panels(sizes.of(cell.forward[phase].projected), widest);
}

// Where a product stands that was made for all rows, `stride` floats from one to the next; what is
// still to be added to it, or null.
struct Sums {
    const float* data;
    Index stride;
    const float* bias;
};

// One step of a forward sweep.
struct ForwardStep {
    const ForwardSweep& s;
    Index rows, token;  // alive; of the first one
    int now;            // which of each two blocks holds the states before
    const float* before[kMost];
    float* after[kMost];
    Sums sums[kMostBlocks];  // of the phase at hand

    // Leaves the arrays to the caller.
    ForwardStep(const ForwardSweep& sweep, Index step)
        : s(sweep), rows(s.rows.count[step]), token(s.rows.start[step]), now(step % 2) {}
};

// [n, W]: what a product takes.
inline const float* operand_of(const Cell& cell, const ForwardStep& step, const CellProduct& p) {
    const CellOperand& operand = cell.operand[p.operand];
    const bool masked = operand.masked && step.s.mask.data;
    if (operand.state >= 0 && !masked) return step.before[operand.state];
    const float* first = step.s.operands[p.operand][operand.state >= 0 ? step.now : 0];
    const bool own = masked && step.s.mask.per_gate;
    return first + (own ? p.rank * step.s.most_rows * step.s.sizes.of(cell, operand) : 0);
}

// Floats of one product's result in workspace, or of the result of several of the same operand.
inline Index sums_floats(const Cell& cell, const Sizes& sizes, Index rows, int first, int count) {
    const CellProduct& p = cell.product[first];
    const Index outputs = sizes.of(p);
    if constexpr (kRounded)
        return RoundedProduct::floats(rows, count * round_up(outputs, kTile),
                                      sizes.of(cell, cell.operand[p.operand]));
    return count * rows * round_up(outputs, kLanes);
}

// Makes the phase's products of all rows, of the units that are this thread's share.
TIDEGATE_NOINLINE inline void make_products(const Cell& cell, int phase, ForwardStep& step) {
    const ForwardSweep& s = step.s;
    const float* packed = s.panels;
    float* workspace = s.workspace;
    const Panels panels = phase_panels(cell, s.sizes, phase);
    const bool side_by_side = is_side_by_side(cell, phase);
    const float* phase_packed = nullptr;
    for (int j = 0, of_phase = 0; j < cell.products;) {
        const CellProduct& p = cell.product[j];
        const int alike = kRounded ? count_alike(cell, j) : 1;
        const Index outputs = s.sizes.of(p), inputs = s.sizes.of(cell, cell.operand[p.operand]);
        const Index packed_floats = forward_floats(cell, s.sizes, j, alike);
        if (p.phase != phase) {
            packed += packed_floats;
            j += alike;
            continue;
        }
        if (!phase_packed) phase_packed = packed;
        if constexpr (kRounded) {
            const Index width = round_up(outputs, kTile);
            const bool apart = s.mask.per_gate && cell.operand[p.operand].masked;
            const int each = apart ? 1 : alike;
            for (int i = 0; i < alike; i += each) {
                const RoundedProduct product(workspace, step.rows, each * width, inputs);
                const float* operand = operand_of(cell, step, cell.product[j + i]);
                for (Index row = 0; row < step.rows; ++row)
                    product.set(row, operand + row * inputs, inputs);
                product.multiply(
                    step.rows, packed + alike * width + i * rounded_panel_floats(outputs, inputs));
                for (int k = 0; k < each; ++k)
                    step.sums[of_phase++] = {product.result + k * width, product.outputs,
                                             packed + (i + k) * width};
                workspace += sums_floats(cell, s.sizes, step.rows, j + i, each);
            }
        } else {
            const Index stride = round_up(outputs, kLanes);
            const int together = side_by_side ? count_in_phase(cell, phase) : 1;
            affine_share(
                {operand_of(cell, step, p), step.rows, side_by_side ? phase_packed : packed,
                 together, side_by_side ? of_phase : 0, outputs, inputs, workspace, stride},
                s.share.begin(panels.count), s.share.end(panels.count));
            step.sums[of_phase++] = {workspace, stride, nullptr};
            workspace += step.rows * stride;
        }
        packed += packed_floats;
        j += alike;
    }
}

// Workspace for the products of the forward phase that needs most.
inline Index forward_workspace_floats(const Cell& cell, const Sizes& sizes, Index rows,
                                      bool per_gate) {
    Index most = 0;
    for (int phase = 0; phase < cell.forward_phases; ++phase) {
        if (is_side_by_side(cell, phase) && !per_gate) continue;
        Index sum = 0;
        for (int j = 0; j < cell.products;) {
            const int count = per_gate ? 1 : count_alike(cell, j);
            if (cell.product[j].phase == phase) sum += sums_floats(cell, sizes, rows, j, count);
            j += count;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

}  // namespace tidegate::TIDEGATE_ISA
