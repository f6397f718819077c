// Products whose factors are rounded: to bfloat16, summed in float32 (bfloat16.h), or to 8 bits,
// summed in integers (int8.h). Which of them, if any, goes by the instruction set of this
// compilation. All rows are multiplied first, into workspace.
#pragma once

#if defined(__AVX512VNNI__)
#include "int8.h"
#else
#include "bfloat16.h"
#endif

namespace tidegate::TIDEGATE_ISA {

// Panels of one matrix with rounded factors: its biases, then its tiles.
inline Index rounded_affine_floats(Index outputs, Index inputs) {
    return round_up(outputs, kTile) + rounded_panel_floats(outputs, inputs);
}

inline void pack_rounded_affine(const float* weight, const float* bias, Index outputs, Index inputs,
                                float* panels, int part, int parts) {
    const Index width = round_up(outputs, kTile);
    if (part == 0)
        for (Index at = 0; at < width; ++at) panels[at] = bias && at < outputs ? bias[at] : 0.0f;
    if constexpr (kRounded)
        pack_rounded_columns(weight, inputs, outputs, inputs, panels + width, part, parts);
}

// Rows that `rounded_affine` multiplies at a time.
constexpr Index kAffineRows = 32;

inline Index rounded_affine_workspace(Index outputs, Index inputs) {
    return RoundedProduct::floats(kAffineRows, outputs, inputs);
}

// x: [rows, inputs]; y: [rows, outputs].
inline void rounded_affine(const float* x, Index rows, const float* panels, Index outputs,
                           Index inputs, float* y, float* workspace) {
    if constexpr (kRounded) {
        const Index width = round_up(outputs, kTile);
        for (Index first = 0; first < rows; first += kAffineRows) {
            const Index n = rows - first < kAffineRows ? rows - first : kAffineRows;
            const RoundedProduct product(workspace, n, outputs, inputs);
            for (Index row = 0; row < n; ++row)
                product.set(row, x + (first + row) * inputs, inputs);
            product.multiply(n, panels + width);
            for (Index row = 0; row < n; ++row)
                for (Index at = 0; at < outputs; at += kLanes)
                    put(y + (first + row) * outputs + at,
                        load(product.result + row * product.outputs + at) + load(panels + at),
                        outputs - at);
        }
    }
}

}  // namespace tidegate::TIDEGATE_ISA
