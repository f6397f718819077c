// The products of one step back, for any cell: dL/d(an operand) of the gradients of the products
// that take it. Compiled once for all cells.
#pragma once

#include "affine.h"
#include "engine/kernels.h"
#include "rounded.h"

namespace tidegate::TIDEGATE_ISA {

// Backward panels hold [rows][U][kLanes] floats: rows of weights as they stand, cut into columns.
constexpr int kBackwardWidth = 3;

// Rows of all blocks that take an operand.
inline Index rows_of(const Cell& cell, const Sizes& sizes, int operand) {
    Index rows = 0;
    for (int j = 0; j < cell.products; ++j)
        if (cell.product[j].operand == operand) rows += sizes.of(cell.product[j]);
    return rows;
}

inline Index row_panel_floats(Index columns, Index rows) {
    if constexpr (kRounded) return rounded_panel_floats(columns, rows);
    return Panels(columns, 1).vectors * kLanes * rows;
}

inline Index backward_panel_floats(const Cell& cell, const Sizes& sizes) {
    Index sum = 0;
    for (int k = 0; k < cell.operands; ++k)
        sum += row_panel_floats(sizes.of(cell, cell.operand[k]), rows_of(cell, sizes, k));
    return sum;
}

inline void pack_rows(const RowBlocks& weights, Index columns, Index rows, float* packed, int part,
                      int parts) {
    if constexpr (kRounded) return pack_rounded_rows(weights, columns, rows, packed, part, parts);
    const Panels panels(columns, kBackwardWidth);
    for (Index p = panels.count * part / parts; p < panels.count * (part + 1) / parts; ++p) {
        const Index first = panels.first(p) * kLanes, lanes = Index(panels.width(p)) * kLanes;
        float* out = packed + first * rows;
        for (Index k = 0; k < rows; ++k) {
            const float* row = weights.row(k) + first;
            for (Index i = 0; i < lanes; i += kLanes, out += kLanes)
                store(out, get(row + i, columns - (first + i)));
        }
    }
}

// The products that take an operand, by rank.
struct Taking {
    const CellProduct* product[kMostBlocks];
    int count = 0;

    Taking(const Cell& cell, int operand) {
        for (int j = 0; j < cell.products; ++j)
            if (cell.product[j].operand == operand) {
                product[cell.product[j].rank] = &cell.product[j];
                ++count;
            }
    }
};

inline void pack_backward(const Cell& cell, const Sizes& sizes, const Weights& weights,
                          float* packed, int part, int parts) {
    for (int k = 0; k < cell.operands; ++k) {
        const Index columns = sizes.of(cell, cell.operand[k]), rows = rows_of(cell, sizes, k);
        const Taking taking(cell, k);
        const float* blocks[kMostBlocks];
        bool in_a_row = true;
        for (int i = 0; i < taking.count; ++i) {
            blocks[i] = block_of(cell, sizes, weights, *taking.product[i]);
            in_a_row = in_a_row && blocks[i] == blocks[0] + i * sizes.hidden * columns;
        }
        const Index each = in_a_row ? rows : rows / taking.count;
        pack_rows({blocks, each, columns}, columns, rows, packed, part, parts);
        packed += row_panel_floats(columns, rows);
    }
}

// Factors of a product: `depth` of each row, which begin `stride` floats apart; and where among the
// rows of the packed weights those begin that they multiply.
struct Factors {
    const float* data;
    Index stride, depth, first;
};

// out [rows, columns] = (adds ? out : 0) + mask * (factors W), `count` factors side by side.
struct BackProduct {
    const Factors* factors;
    int count;
    const float* packed;
    Index rows, columns, depth;  // of the packed weights in all
    float* out;
    bool adds;
    const float* mask;  // [rows, columns] or null
    float* workspace;
};

template <int U>
struct BackwardTile {
    const BackProduct& p;
    const float* panel;
    Index unit;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        Vec sums[R][U] = {};
        if constexpr (kRounded) {
            const RoundedProduct product(p.workspace, p.rows, p.columns, p.depth);
            for (int r = 0; r < R; ++r)
                for (int u = 0; u < U; ++u)
                    sums[r][u] =
                        load(product.result + (first + r) * product.outputs + unit + u * kLanes);
        } else {
            for (int i = 0; i < p.count; ++i) {
                const Factors f = p.factors[i];
                multiply_panel<R, U>(sums, f.data + first * f.stride, f.stride,
                                     panel + f.first * U * kLanes, f.depth);
            }
        }
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = unit + u * kLanes, valid = p.columns - at;
                if (valid <= 0) continue;
                const Index place = (first + r) * p.columns + at;
                float* to = p.out + place;
                const Vec start = p.adds ? get(to, valid) : broadcast(0.0f);
                const Vec scale = p.mask ? get(p.mask + place, valid) : broadcast(1.0f);
                put(to, multiply_add(scale, sums[r][u], start), valid);
            }
    }
};

TIDEGATE_NOINLINE inline void back_product(const BackProduct& p, const Share& share) {
    const Panels panels(p.columns, kBackwardWidth);
    if constexpr (kRounded) {
        const RoundedProduct product(p.workspace, p.rows, p.columns, p.depth);
        for (Index row = 0; row < p.rows; ++row) {
            if (p.factors[0].depth < p.depth && p.count == 1) product.clear(row);
            for (int i = 0; i < p.count; ++i) {
                const Factors& f = p.factors[i];
                product.set(row, f.first, f.data + row * f.stride, f.depth);
            }
        }
        product.multiply(p.rows, p.packed);
    }
    constexpr int most = kRounded ? 1 : 0;
    for (Index i = share.begin(panels.count); i < share.end(panels.count); ++i) {
        const Index unit = panels.first(i) * kLanes;
        switch_width<kBackwardWidth>(panels.width(i), [&](auto width) {
            constexpr int U = decltype(width)::value;
            const BackwardTile<U> tile{p, p.packed + unit * p.depth, unit};
            for_each_tile<most ? most : max_rows(U)>(p.rows, tile);
        });
    }
}

// How the gradient of one operand is made at every step.
struct OperandPass {
    Factors factors[kMostBlocks];     // at token 0
    const float* masks[kMostBlocks];  // of each factor, where gates have masks of their own
    int count;
    bool apart;  // whether they have
    BackProduct product;

    // Leaves all as it is: most of `factors` is not used.
    OperandPass() {}
};

inline void prepare(const Cell& cell, const BackwardSweep& s, int operand, OperandPass& pass) {
    const CellOperand& o = cell.operand[operand];
    const float* packed = s.panels;
    for (int k = 0; k < operand; ++k)
        packed += row_panel_floats(s.sizes.of(cell, cell.operand[k]), rows_of(cell, s.sizes, k));
    const Taking taking(cell, operand);
    const Index H = s.sizes.hidden, gates = cell.gates * H, width = s.sizes.of_products(cell);
    pass.apart = s.mask.per_gate && o.masked;
    pass.count = 0;
    Index depth = 0;
    for (int i = 0; i < taking.count; ++i) {
        const CellProduct& p = *taking.product[i];
        Factors f{s.d_gates + p.column * H, gates, s.sizes.of(p), depth};
        if (p.gradient == Gradient::kProducts)
            f = {s.d_products + p.column * H, width, f.depth, depth};
        if (p.gradient == Gradient::kProjected)
            f = {s.d_products + cell.separate * H + p.column * s.sizes.projected, width, f.depth,
                 depth};
        depth += f.depth;
        Factors& last = pass.factors[pass.count > 0 ? pass.count - 1 : 0];
        if (pass.count > 0 && !pass.apart && f.data == last.data + last.depth) {
            last.depth += f.depth;
        } else {
            pass.masks[pass.count] = pass.apart ? s.mask.of(p.block) : nullptr;
            pass.factors[pass.count++] = f;
        }
    }
    pass.product = {nullptr,
                    pass.count,
                    packed,
                    0,
                    s.sizes.of(cell, o),
                    depth,
                    o.state < 0 ? s.d_operands[operand] : s.d_states[o.state],
                    o.adds,
                    o.masked ? s.mask.of(0) : nullptr,
                    s.workspace};
}

// The gradient at one step: rows `token` .. token + rows - 1 of the gradients it is made of.
inline void make_operand_gradient(const OperandPass& pass, Index rows, Index token,
                                  const Share& share) {
    Factors factors[kMostBlocks];
    for (int i = 0; i < pass.count; ++i) {
        factors[i] = pass.factors[i];
        factors[i].data += token * factors[i].stride;
    }
    BackProduct product = pass.product;
    product.factors = factors;
    product.rows = rows;
    if (!pass.apart) return back_product(product, share);
    product.count = 1;
    for (int i = 0; i < pass.count; ++i, ++product.factors) {
        product.mask = pass.masks[i];
        back_product(product, share);
        product.adds = true;
    }
}

// Workspace for the largest of these products.
inline Index backward_workspace_floats(const Cell& cell, const Sizes& sizes, Index rows) {
    if constexpr (!kRounded) return 0;
    Index most = 0;
    for (int k = 0; k < cell.operands; ++k) {
        const Index each =
            RoundedProduct::floats(rows, sizes.of(cell, cell.operand[k]), rows_of(cell, sizes, k));
        most = each > most ? each : most;
    }
    return most;
}

}  // namespace tidegate::TIDEGATE_ISA
