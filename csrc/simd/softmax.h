// Cross-entropy of a softmax over rows of logits, and its gradient in their place.
#pragma once

#include <cmath>

#include "math.h"

namespace tidegate::TIDEGATE_ISA {

// nats[r] = -log softmax(logits of row r)[targets[r]]. With `gradient` each row is replaced by its
// softmax, less one at the target. Three passes over a row, which stays in the second cache up to
// some hundred thousand words; a NaN in a row makes all of it NaN.
inline void softmax_cross_entropy(float* logits, std::ptrdiff_t rows, std::ptrdiff_t words,
                                  const std::int64_t* targets, float* nats, bool gradient) {
    const std::ptrdiff_t whole = words / kLanes * kLanes, rest = words - whole;
    for (std::ptrdiff_t r = 0; r < rows; ++r) {
        float* row = logits + r * words;
        const float target = row[targets[r]];
        Vec highest = broadcast(row[0]);
        for (std::ptrdiff_t i = 0; i < whole; i += kLanes) {
            const Vec x = load(row + i);
            highest = highest < x ? x : highest;
        }
        float top = highest[0];
        for (int lane = 1; lane < kLanes; ++lane) top = top < highest[lane] ? highest[lane] : top;
        for (std::ptrdiff_t i = whole; i < words; ++i) top = top < row[i] ? row[i] : top;

        const Vec shift = broadcast(top);
        Vec sums{};
        for (std::ptrdiff_t i = 0; i < whole; i += kLanes) {
            const Vec e = exp(load(row + i) - shift);
            sums += e;
            if (gradient) store(row + i, e);
        }
        float sum = 0.0f;
        for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
        if (rest > 0) {
            const Vec e = exp(load_first(row + whole, rest) - shift);
            for (int lane = 0; lane < rest; ++lane) sum += e[lane];
            if (gradient) store_first(row + whole, e, rest);
        }
        nats[r] = (top - target) + std::log(sum);
        if (!gradient) continue;
        const float scale = 1.0f / sum;
        for (std::ptrdiff_t i = 0; i < whole; i += kLanes)
            store(row + i, load(row + i) * broadcast(scale));
        for (std::ptrdiff_t i = whole; i < words; ++i) row[i] *= scale;
        row[targets[r]] -= 1.0f;
    }
}

}  // namespace tidegate::TIDEGATE_ISA
