// The products inside the time loop: a few rows times packed panels, in register tiles.
#pragma once

#include <cstddef>

#include "simd.h"

namespace tidegate::TIDEGATE_ISA {

// Accumulators of one register tile. 32 registers: 24 sums, the weights, one broadcast value;
// 16 registers: 12 sums.
#if defined(__AVX512F__) || defined(TIDEGATE_NEON)
constexpr int kTileSums = 24;
#else
constexpr int kTileSums = 12;
#endif

// Floats of weights that stay in a core's second cache (1 to 2 MB on most) from one pass to the
// next.
constexpr std::ptrdiff_t kSecondCache = 3 << 17;

constexpr int max_rows(int width) { return kTileSums / width < 8 ? kTileSums / width : 8; }

constexpr std::ptrdiff_t round_up(std::ptrdiff_t n, std::ptrdiff_t unit) {
    return (n + unit - 1) / unit * unit;
}

// sums[r][v] += sum over k < depth of a[r * a_stride + k * a_step] * panel[k * step + v * kLanes
// ...]. Few sums are split over several k, so that one addition need not wait for the last.
// Meanwhile the lines from `ahead` on are fetched into the second cache, one for each k.
template <int R, int V>
TIDEGATE_INLINE void multiply_panel(Vec (&sums)[R][V], const float* __restrict a,
                                    std::ptrdiff_t a_stride, const float* __restrict panel,
                                    std::ptrdiff_t depth, const float* ahead = nullptr,
                                    std::ptrdiff_t a_step = 1, std::ptrdiff_t step = V * kLanes) {
    const std::ptrdiff_t line = ahead ? 16 : 0;
    constexpr int kSplit = R * V >= 8 ? 1 : (R * V >= 4 ? 2 : 4);
    std::ptrdiff_t k = 0;
    if constexpr (kSplit > 1) {
        Vec parts[kSplit - 1][R][V];
#pragma GCC unroll 4
        for (int s = 0; s < kSplit - 1; ++s)  // `= {}` would fill memory
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) parts[s][r][v] = broadcast(0.0f);
        for (; k + kSplit <= depth; k += kSplit) {
#pragma GCC unroll 4
            for (int s = 0; s < kSplit; ++s) {
                Vec(&into)[R][V] = s == 0 ? sums : parts[s == 0 ? 0 : s - 1];
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) {
                    const Vec x = broadcast(a[r * a_stride + (k + s) * a_step]);
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v)
                        into[r][v] =
                            multiply_add(x, load(panel + (k + s) * step + v * kLanes), into[r][v]);
                }
            }
        }
        for (int s = 0; s < kSplit - 1; ++s)
            for (int r = 0; r < R; ++r)
                for (int v = 0; v < V; ++v) sums[r][v] += parts[s][r][v];
    }
#pragma GCC unroll 2
    for (; k < depth; ++k) {
        __builtin_prefetch(ahead + k * line, 0, 2);
        Vec weights[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) weights[v] = load(panel + k * step + v * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const Vec x = broadcast(a[r * a_stride + k * a_step]);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sums[r][v] = multiply_add(x, weights[v], sums[r][v]);
        }
    }
}

// Calls body(first, height) for tiles of nearly equal height that cover `rows` rows.
template <class Body>
TIDEGATE_INLINE void for_each_height(std::ptrdiff_t rows, std::ptrdiff_t most, const Body& body) {
    const std::ptrdiff_t tiles = (rows + most - 1) / most;
    std::ptrdiff_t first = 0;
    for (std::ptrdiff_t i = 0; i < tiles; ++i) {
        const std::ptrdiff_t height = (rows - first) / (tiles - i);
        body(first, height);
        first += height;
    }
}

// Calls body.template run<R>(first_row) for tiles of nearly equal height that cover `rows` rows.
template <int MaxRows, class Body>
TIDEGATE_INLINE void for_each_tile(std::ptrdiff_t rows, const Body& body) {
    if constexpr (MaxRows == 1) {
        for (std::ptrdiff_t row = 0; row < rows; ++row) body.template run<1>(row);
        return;
    }
    const std::ptrdiff_t tiles = (rows + MaxRows - 1) / MaxRows;
    std::ptrdiff_t first = 0;
    for (std::ptrdiff_t i = 0; i < tiles; ++i) {
        const std::ptrdiff_t height = (rows - first) / (tiles - i);
        switch (height) {
                // clang-format off
            case 1: body.template run<1>(first); break;
            case 2: if constexpr (MaxRows >= 2) body.template run<2>(first); break;
            case 3: if constexpr (MaxRows >= 3) body.template run<3>(first); break;
            case 4: if constexpr (MaxRows >= 4) body.template run<4>(first); break;
            case 5: if constexpr (MaxRows >= 5) body.template run<5>(first); break;
            case 6: if constexpr (MaxRows >= 6) body.template run<6>(first); break;
            case 7: if constexpr (MaxRows >= 7) body.template run<7>(first); break;
            case 8: if constexpr (MaxRows >= 8) body.template run<8>(first); break;
            default: break;
                // clang-format on
        }
        first += height;
    }
}

// Columns of vectors cut into panels at most `widest` wide, as equal as can be.
struct Panels {
    std::ptrdiff_t vectors, count;
    Panels(std::ptrdiff_t units, int widest)
        : vectors((units + kLanes - 1) / kLanes), count((vectors + widest - 1) / widest) {}
    std::ptrdiff_t first(std::ptrdiff_t panel) const {
        return count == vectors ? panel : panel * vectors / count;
    }
    int width(std::ptrdiff_t panel) const {
        return static_cast<int>(first(panel + 1) - first(panel));
    }
};

template <int N>
struct Width {
    static constexpr int value = N;
};

// Calls body(Width<width>{}) for 1 <= width <= Widest <= 3.
template <int Widest, class Body>
TIDEGATE_INLINE void switch_width(int width, const Body& body) {
    if constexpr (Widest >= 3)
        if (width == 3) return body(Width<3>{});
    if constexpr (Widest >= 2)
        if (width == 2) return body(Width<2>{});
    body(Width<1>{});
}

}  // namespace tidegate::TIDEGATE_ISA
