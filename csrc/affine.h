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

// Panels hold [1 + I][U][kLanes] floats: the biases, then W's columns, U vectors of outputs wide.
constexpr int kAffineWidth = 3;

inline Index affine_panel_floats(Index outputs, Index inputs) {
    return Panels(outputs, 1).vectors * kLanes * (inputs + 1);
}

// weight: [outputs, inputs]; bias: [outputs] or null; share `part` of `parts`.
inline void pack_affine(const float* weight, const float* bias, Index outputs, Index inputs,
                        float* packed, int part, int parts) {
    const Panels panels(outputs, kAffineWidth);
    for (Index p = panels.count * part / parts; p < panels.count * (part + 1) / parts; ++p) {
        const Index stride = Index(panels.width(p)) * kLanes;
        for (Index u = 0; u < panels.width(p); ++u) {
            const Index row = (panels.first(p) + u) * kLanes, valid = outputs - row;
            float* out = packed + panels.first(p) * kLanes * (inputs + 1) + u * kLanes;
            store(out, bias ? get(bias + row, valid) : broadcast(0.0f));
            pack_columns(weight + row * inputs, inputs, valid, inputs, out + stride, stride);
        }
    }
}

template <int U>
struct AffineTile {
    const float *x, *panel;
    float* y;
    Index inputs, outputs, first_output;
    const float* next_panel;  // what will be read next, if it may have left the cache
    Index rows;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        Vec sums[R][U];
        for (int u = 0; u < U; ++u) {
            const Vec bias = load(panel + u * kLanes);
            for (int r = 0; r < R; ++r) sums[r][u] = bias;
        }
        const float* ahead =
            next_panel ? next_panel + first * (inputs + 1) * U / rows * kLanes : nullptr;
        multiply_panel<R, U>(sums, x + first * inputs, inputs, panel + U * kLanes, inputs, ahead);
        for (int r = 0; r < R; ++r)
            for (int u = 0; u < U; ++u) {
                const Index at = first_output + u * kLanes;
                if (at < outputs) put(y + (first + r) * outputs + at, sums[r][u], outputs - at);
            }
    }
};

// x: [rows, inputs]; y: [rows, outputs]. Blocks of rows, so that they stay in cache for all panels.
inline void affine(const float* x, Index rows, const float* packed, Index outputs, Index inputs,
                   float* y) {
    constexpr Index kBlock = 192;
    const Panels panels(outputs, kAffineWidth);
    const bool streams = affine_panel_floats(outputs, inputs) > kSecondCache;
    for (Index from = 0; from < rows; from += kBlock) {
        const Index n = rows - from < kBlock ? rows - from : kBlock;
        for (Index p = 0; p < panels.count; ++p) {
            const Index first = panels.first(p) * kLanes;
            const Index next = panels.first((p + 1) % panels.count) * kLanes;
            const float* next_panel = streams ? packed + next * (inputs + 1) : nullptr;
            switch_width<kAffineWidth>(panels.width(p), [&](auto width) {
                constexpr int U = decltype(width)::value;
                const AffineTile<U> tile{x + from * inputs,
                                         packed + first * (inputs + 1),
                                         y + from * outputs,
                                         inputs,
                                         outputs,
                                         first,
                                         next_panel,
                                         n};
                for_each_tile<max_rows(U)>(n, tile);
            });
        }
    }
}

}  // namespace tidegate::TIDEGATE_ISA
