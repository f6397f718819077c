// Register tiles of instructions that multiply several small factors at once, and add up what they
// give, in each lane of four bytes.
#pragma once

#include <cstdint>

#include "affine.h"

namespace tidegate::TIDEGATE_ISA {

// sums[r][v] += sum over k < groups of operand[r * groups + k] times weights[v][k * kLanes ...],
// where Dot::add knows how many factors a group of four bytes holds. Few sums are split over
// several k, so that one instruction need not wait for the last.
template <class Dot, int R, int V>
TIDEGATE_INLINE void multiply_groups(typename Dot::Sums (&sums)[R][V], const std::uint32_t* operand,
                                     const float* const (&weights)[V], Index groups) {
    constexpr int kSplit = R * V >= 8 ? 1 : (R * V >= 4 ? 2 : 4);
    Index k = 0;
    if constexpr (kSplit > 1) {
        typename Dot::Sums parts[kSplit - 1][R][V] = {};
        for (; k + kSplit <= groups; k += kSplit) {
#pragma GCC unroll 4
            for (int s = 0; s < kSplit; ++s) {
                auto& into = s == 0 ? sums : parts[s == 0 ? 0 : s - 1];
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v)
                        into[r][v] = Dot::add(into[r][v], operand[r * groups + k + s],
                                              load(weights[v] + (k + s) * kLanes));
            }
        }
        for (int s = 0; s < kSplit - 1; ++s)
            for (int r = 0; r < R; ++r)
                for (int v = 0; v < V; ++v) sums[r][v] += parts[s][r][v];
    }
    for (; k < groups; ++k) {
        Vec w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = load(weights[v] + k * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v)
                sums[r][v] = Dot::add(sums[r][v], operand[r * groups + k], w[v]);
    }
}

}  // namespace tidegate::TIDEGATE_ISA
