// c = a b of large matrices, each of a and b as it stands or transposed: the products of training,
// over the tokens of all steps.
#pragma once

#include "affine.h"
#include "engine/kernels.h"
#include "rounded.h"

namespace tidegate::TIDEGATE_ISA {

// Factors, rows and columns at a time. The panels of a block of b stay in the second cache, one of
// them in the first.
constexpr Index kDepthBlock = 256, kRowBlock = 96, kColumnBlock = 480;

// The same where factors are rounded: two of them take the room of one.
constexpr Index kRoundedDepth = 2 * kDepthBlock, kRoundedRows = 32;

inline Index product_workspace_floats(Index columns) {
    const Index widest = round_up(columns < kColumnBlock ? columns : kColumnBlock, kLanes);
    if constexpr (kRounded)
        return rounded_panel_floats(widest, kRoundedDepth) + kRoundedRows * kRoundedDepth +
               RoundedProduct::floats(kRoundedRows, widest, kRoundedDepth);
    return kDepthBlock * (kRowBlock + widest);
}

// packed: panels [depth][U][kLanes] of factors k .. k + depth - 1 of b, U vectors of its columns
// from `column` on.
inline void pack_product(const Operand& b, Index k, Index depth, Index column, Index columns,
                         const Panels& panels, float* packed) {
    for (Index p = 0; p < panels.count; ++p) {
        const Index stride = Index(panels.width(p)) * kLanes;
        for (Index u = 0; u < panels.width(p); ++u) {
            const Index first = (panels.first(p) + u) * kLanes, valid = columns - first;
            float* out = packed + panels.first(p) * kLanes * depth + u * kLanes;
            if (b.transposed) {
                pack_columns(b.data + (column + first) * b.stride + k, b.stride, valid, depth, out,
                             stride);
            } else {
                const float* from = b.data + k * b.stride + column + first;
                for (Index i = 0; i < depth; ++i)
                    store(out + i * stride, get(from + i * b.stride, valid));
            }
        }
    }
}

template <int U>
struct BlockTile {
    const float* a;
    Index row, step;  // from one row of a, and from one factor, to the next
    const float* panel;
    Index depth, columns;
    float* c;
    Index stride;
    const float* start;  // of each row's sums; null: c
    const float* ahead;  // lines to be fetched, one for each factor of each tile; or null

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        Vec sums[R][U];
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u)
                sums[r][u] = get((start ? start : c + (first + r) * stride) + u * kLanes,
                                 columns - u * kLanes);
        const float* lines = ahead ? ahead + first / max_rows(U) * depth * 16 : nullptr;
        multiply_panel<R, U>(sums, a + first * row, row, panel, depth, lines, step);
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u)
                put(c + (first + r) * stride + u * kLanes, sums[r][u], columns - u * kLanes);
    }
};

// Rows `row` .. of a, factors k .. k + depth - 1, as the operand of a rounded product. block: of
// kRoundedRows * kRoundedDepth floats.
inline void set_rounded(const Operand& a, Index row, Index rows, Index k, Index depth, float* block,
                        const RoundedProduct& product) {
    const float* from = a.data + row * a.stride + k;
    Index stride = a.stride;
    if (a.transposed) {
        for (Index i = 0; i < depth; i += kLanes)
            pack_columns(a.data + (k + i) * a.stride + row, a.stride, depth - i, rows, block + i,
                         kRoundedDepth);
        from = block;
        stride = kRoundedDepth;
    }
    for (Index r = 0; r < rows; ++r) product.set(r, 0, from + r * stride, depth);
}

// Calls body(column, width, k, depth, adds) for blocks of columns and factors, in this order; what
// is in c already is to be added to where `adds`.
template <class Body>
TIDEGATE_INLINE void for_each_block(const Product& p, Index deepest, const Body& body) {
    for (Index column = 0; column < p.columns; column += kColumnBlock) {
        const Index width = p.columns - column < kColumnBlock ? p.columns - column : kColumnBlock;
        Index k = 0;
        do {  // once even without factors
            const Index depth = p.depth - k < deepest ? p.depth - k : deepest;
            body(column, width, k, depth, p.adds || k > 0);
            k += depth;
        } while (k < p.depth);
    }
}

inline void multiply_rounded(const Product& p, float* workspace) {
    float *const block = workspace, *const packed = block + kRoundedRows * kRoundedDepth;
    for_each_block(
        p, kRoundedDepth, [&](Index column, Index width, Index k, Index depth, bool adds) {
            if (p.b.transposed) {
                pack_rounded_columns(p.b.data + column * p.b.stride + k, p.b.stride, width, depth,
                                     packed, 0, 1);
            } else {
                const float* from = p.b.data + k * p.b.stride + column;
                pack_rounded_rows({&from, depth, p.b.stride}, width, depth, packed, 0, 1);
            }
            float* const rest = packed + rounded_panel_floats(width, depth);
            for (Index row = 0; row < p.rows; row += kRoundedRows) {
                const Index rows = p.rows - row < kRoundedRows ? p.rows - row : kRoundedRows;
                const RoundedProduct product(rest, rows, width, depth);
                set_rounded(p.a, row, rows, k, depth, block, product);
                product.multiply(rows, packed);
                for (Index r = 0; r < rows; ++r) {
                    float* c = p.c + (row + r) * p.stride + column;
                    const float* start = adds ? c : (p.bias ? p.bias + column : nullptr);
                    for (Index i = 0; i < width; i += kLanes) {
                        const Vec sum = load(product.result + r * product.outputs + i);
                        put(c + i, start ? get(start + i, width - i) + sum : sum, width - i);
                    }
                }
            }
        });
}

// What of a and b the next factors are in, where both are read row after row, a transposed: lines
// of memory to be fetched while the factors at hand are multiplied.
class NextFactors {
  public:
    NextFactors(const Product& p, Index k) {
        const Index depth = p.depth - k < kDepthBlock ? p.depth - k : kDepthBlock;
        if (depth <= 0 || !p.a.transposed || p.b.transposed) return;
        const Operand* const each[2] = {&p.a, &p.b};
        for (int i = 0; i < 2; ++i) {
            from_[i] = each[i]->data + k * each[i]->stride;
            lines_[i] = depth * each[i]->stride / 16;
        }
    }

    // The first of `lines` that have not been asked for before, or null.
    const float* take(Index lines) {
        const int i = taken_[0] < lines_[0] ? 0 : 1;
        if (taken_[i] >= lines_[i]) return nullptr;
        const float* const first = from_[i] + taken_[i] * 16;
        taken_[i] += lines;
        return first;
    }

  private:
    const float* from_[2] = {};
    Index lines_[2] = {}, taken_[2] = {};
};

// workspace: of product_workspace_floats(p.columns), 64-byte aligned.
inline void multiply(const Product& p, float* workspace) {
    if constexpr (kRounded) return multiply_rounded(p, workspace);
    alignas(64) static const float zeros[kAffineWidth * kLanes] = {};
    float* const block = workspace;  // of a transposed a: [depth][kRowBlock]
    float* const packed = workspace + kDepthBlock * kRowBlock;
    for_each_block(p, kDepthBlock, [&](Index column, Index width, Index k, Index depth, bool adds) {
        const Panels panels(width, kAffineWidth);
        NextFactors next(p, k + depth);
        pack_product(p.b, k, depth, column, width, panels, packed);
        for (Index row = 0; row < p.rows; row += kRowBlock) {
            const Index rows = p.rows - row < kRowBlock ? p.rows - row : kRowBlock;
            const float* a = p.a.data + row * p.a.stride + k;
            if (p.a.transposed) {
                a = block;
                for (Index i = 0; i < depth; ++i)
                    std::memcpy(block + i * kRowBlock, p.a.data + (k + i) * p.a.stride + row,
                                sizeof(float) * static_cast<std::size_t>(rows));
            }
            for (Index i = 0; i < panels.count; ++i)
                switch_width<kAffineWidth>(panels.width(i), [&](auto panel_width) {
                    constexpr int U = decltype(panel_width)::value;
                    const Index first = panels.first(i) * kLanes;
                    const float* bias = p.bias ? p.bias + column + first : zeros;
                    const BlockTile<U> tile{
                        a,
                        p.a.transposed ? 1 : p.a.stride,
                        p.a.transposed ? kRowBlock : 1,
                        packed + first * depth,
                        depth,
                        width - first,
                        p.c + row * p.stride + column + first,
                        p.stride,
                        adds ? nullptr : bias,
                        next.take((rows + max_rows(U) - 1) / max_rows(U) * depth)};
                    for_each_tile<max_rows(U)>(rows, tile);
                });
        }
    });
}

}  // namespace tidegate::TIDEGATE_ISA
