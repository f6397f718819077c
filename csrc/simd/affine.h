// y = x W^T + b for all steps at once.
#pragma once

#include "matmul.h"

namespace tidegate::TIDEGATE_ISA {

using Index = std::ptrdiff_t;

TIDEGATE_INLINE Vec get(const float* p, Index valid) {
    return valid >= kLanes ? load(p) : load_first(p, valid);
}

TIDEGATE_INLINE void put(float* p, Vec v, Index valid) {
    if (valid >= kLanes) {
        store(p, v);
    } else {
        store_first(p, v, valid);
    }
}

// The first `depth` columns of up to kLanes rows, `row` floats from one to the next, one after the
// other, `stride` floats apart.
inline void pack_columns(const float* rows, Index row, Index valid, Index depth, float* out,
                         Index stride) {
    Index k = 0;
    for (; k + kLanes <= depth; k += kLanes) {
        Vec block[kLanes];
        for (Index i = 0; i < kLanes; ++i)
            block[i] = i < valid ? load(rows + i * row + k) : broadcast(0.0f);
        transpose(block);
        for (Index i = 0; i < kLanes; ++i) store(out + (k + i) * stride, block[i]);
    }
    for (; k < depth; ++k)
        for (Index i = 0; i < kLanes; ++i)
            out[k * stride + i] = i < valid ? rows[i * row + k] : 0.0f;
}

// Forward panels hold [1 + I][G][U][kLanes] floats: the biases, then the weights' columns, the G
// matrices of the same U vectors of outputs side by side, so that a register tile may end with all
// of them.
constexpr int kAffineWidth = 3;

constexpr int matrices_width(int matrices) {
    return matrices >= kAffineWidth ? 1 : kAffineWidth / matrices;
}

inline Index affine_panel_floats(Index outputs, Index inputs) {
    return Panels(outputs, 1).vectors * kLanes * (inputs + 1);
}

// weights: G of [outputs, inputs] each; biases: of [outputs] or null; share `part` of `parts`.
inline void pack_matrices(const float* const* weights, const float* const* biases, int matrices,
                          Index outputs, Index inputs, float* packed, int part, int parts) {
    const Panels panels(outputs, matrices_width(matrices));
    for (Index p = panels.count * part / parts; p < panels.count * (part + 1) / parts; ++p) {
        const Index wide = panels.width(p), stride = matrices * wide * kLanes;
        float* panel = packed + panels.first(p) * kLanes * matrices * (inputs + 1);
        for (Index g = 0; g < matrices; ++g)
            for (Index u = 0; u < wide; ++u) {
                const Index row = (panels.first(p) + u) * kLanes, valid = outputs - row;
                float* out = panel + (g * wide + u) * kLanes;
                store(out, biases[g] ? get(biases[g] + row, valid) : broadcast(0.0f));
                pack_columns(weights[g] + row * inputs, inputs, valid, inputs, out + stride,
                             stride);
            }
    }
}

inline void pack_affine(const float* weight, const float* bias, Index outputs, Index inputs,
                        float* packed, int part, int parts) {
    pack_matrices(&weight, &bias, 1, outputs, inputs, packed, part, parts);
}

// A register tile: some rows of x times V vectors of a panel, and the biases.
struct Tile {
    const float* x;  // `depth` floats of each row
    const float* panel;
    Index depth, step;  // from one of its columns to the next in the panel
    float* y;
    Index stride, outputs;    // from one row of y to the next; floats of it from y on that exist
    const float* next_panel;  // what will be read next, if it may have left the cache
    Index rows;               // of the whole pass over this panel

    template <int R, int V>
    TIDEGATE_INLINE void run(Index first) const {
        Vec sums[R][V];
        for (int v = 0; v < V; ++v) {
            const Vec bias = load(panel + v * kLanes);
            for (int r = 0; r < R; ++r) sums[r][v] = bias;
        }
        const float* ahead =
            next_panel ? next_panel + first * (depth + 1) * V / rows * kLanes : nullptr;
        multiply_panel<R, V>(sums, x + first * depth, depth, panel + step, depth, ahead, 1, step);
        // in variables of their own: the stores might change what stands in memory
        float* const out = y;
        const Index valid = outputs, row = stride;
        if (valid >= V * kLanes) {
            for (int r = 0; r < R; ++r)
                for (int v = 0; v < V; ++v) store(out + r * row + v * kLanes, sums[r][v]);
            return;
        }
        // a copy, so that the sums themselves stay in registers
        alignas(64) float copy[R * V * kLanes];
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) store(copy + (r * V + v) * kLanes, sums[r][v]);
#pragma GCC unroll 1
        for (int r = 0; r < R; ++r)
            for (int v = 0; v * kLanes < valid; ++v)
                put(out + r * row + v * kLanes, load(copy + (r * V + v) * kLanes),
                    valid - v * kLanes);
    }
};

template <int V>
TIDEGATE_INLINE void run_tile(const Tile& tile, Index first, Index height) {
    constexpr int most = max_rows(V);
    switch (height) {
            // clang-format off
        case 1: return tile.run<1, V>(first);
        case 2: if constexpr (most >= 2) return tile.run<2, V>(first); break;
        case 3: if constexpr (most >= 3) return tile.run<3, V>(first); break;
        case 4: if constexpr (most >= 4) return tile.run<4, V>(first); break;
        case 5: if constexpr (most >= 5) return tile.run<5, V>(first); break;
        case 6: if constexpr (most >= 6) return tile.run<6, V>(first); break;
        case 7: if constexpr (most >= 7) return tile.run<7, V>(first); break;
        case 8: if constexpr (most >= 8) return tile.run<8, V>(first); break;
        default: break;
            // clang-format on
    }
}

// Rows first .. first + height - 1 of the pass. Compiled once for all that multiply by panels.
TIDEGATE_NOINLINE inline void run_tile(const Tile& tile, int width, Index first, Index height) {
    switch (width) {
            // clang-format off
        case 1: return run_tile<1>(tile, first, height);
        case 2: return run_tile<2>(tile, first, height);
        default: return run_tile<3>(tile, first, height);
            // clang-format on
    }
}

// y [rows, outputs] = x [rows, inputs] times one of the packed matrices, in panels first .. last
// - 1.
struct Affine {
    const float* x;
    Index rows;
    const float* packed;
    int matrices, matrix;
    Index outputs, inputs;
    float* y;
    Index stride;  // from one row of y to the next
};

// Blocks of rows, so that they stay in cache for all panels.
inline void affine_share(const Affine& a, Index first_panel, Index last_panel) {
    constexpr Index kBlock = 192;
    const Panels panels(a.outputs, matrices_width(a.matrices));
    const bool streams = a.matrices == 1 && affine_panel_floats(a.outputs, a.inputs) > kSecondCache;
    for (Index from = 0; from < a.rows; from += kBlock) {
        const Index n = a.rows - from < kBlock ? a.rows - from : kBlock;
        for (Index p = first_panel; p < last_panel; ++p) {
            const int width = panels.width(p);
            const Index unit = panels.first(p) * kLanes, most = max_rows(width);
            const Index next = panels.first((p + 1) % panels.count) * kLanes;
            Tile tile{a.x + from * a.inputs,
                      a.packed + unit * a.matrices * (a.inputs + 1) + a.matrix * width * kLanes,
                      a.inputs,
                      Index(a.matrices) * width * kLanes,
                      nullptr,
                      a.stride,
                      a.outputs - unit,
                      streams ? a.packed + next * (a.inputs + 1) : nullptr,
                      n};
            for_each_height(n, most, [&](Index first, Index height) {
                tile.y = a.y + (from + first) * a.stride + unit;
                run_tile(tile, width, first, height);
            });
        }
    }
}

inline Index affine_workspace(Index, Index) { return 0; }

// x: [rows, inputs]; y: [rows, outputs].
inline void affine(const float* x, Index rows, const float* packed, Index outputs, Index inputs,
                   float* y, float*) {
    const Panels panels(outputs, kAffineWidth);
    affine_share({x, rows, packed, 1, 0, outputs, inputs, y, outputs}, 0, panels.count);
}

}  // namespace tidegate::TIDEGATE_ISA
