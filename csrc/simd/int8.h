// Products whose factors are rounded to 8 bits, summed exactly in 32-bit integers: by AVX-512's
// VNNI, 16 outputs over 4 factors in one instruction. Each row of weights has a scale, so that its
// largest factor is 127; each row of an operand has its own. Compiled into the set `avx512vnni`
// alone.
#pragma once

#include "affine.h"
#include "dot_tile.h"

namespace tidegate::TIDEGATE_ISA {

constexpr bool kRounded = true;
constexpr Index kTile = 16;       // outputs
constexpr Index kTileDepth = 64;  // factors, with zeros beyond the last
constexpr float kLargest = 127.0f;
constexpr int kZero = 128;  // what stands for 0 in an operand, which the instruction takes unsigned

// Packed weights of a product of `depth` factors: for each 16 outputs [depth / 4] groups of 16
// outputs times 4 factors; then the outputs' scales, and kZero times the sums of their factors.
inline Index tile_floats(Index depth) { return (round_up(depth, kTileDepth) / 4 + 2) * kTile; }

inline Index rounded_panel_floats(Index outputs, Index depth) {
    return round_up(outputs, kTile) / kTile * tile_floats(depth);
}

TIDEGATE_INLINE float largest(const float* values, Index count) {
    Vec most{};
    for (Index i = 0; i < count; i += kLanes) {
        const Vec v = get(values + i, count - i), size = _mm512_abs_ps(v);
        most = size > most || size != size ? size : most;  // a NaN stays
    }
    float found = 0.0f;
    for (int lane = 0; lane < kLanes; ++lane)
        found = most[lane] > found || most[lane] != most[lane] ? most[lane] : found;
    return found;
}

// Of a row whose largest value this is; whoever divides by it must not divide by zero.
TIDEGATE_INLINE float scale_of(float largest) { return largest > 0.0f ? largest / kLargest : 1.0f; }

// Rounded to the nearest of -127 .. 127.
TIDEGATE_INLINE __m128i eight_bits(Vec v, float inverse) {
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(clamp(v * inverse, -kLargest, kLargest)));
}

// weight: [outputs, depth], `stride` floats from one row to the next; share `part` of `parts`.
inline void pack_rounded_columns(const float* weight, Index stride, Index outputs, Index depth,
                                 float* packed, int part, int parts) {
    const Index blocks = round_up(outputs, kTile) / kTile;
    const Index groups = round_up(depth, kTileDepth) / 4;
    for (Index b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
        float* tile = packed + b * tile_floats(depth);
        auto* bytes = reinterpret_cast<std::int8_t*>(tile);
        float* scales = tile + groups * kTile;
        Ints sums{};
        std::memset(bytes, 0, static_cast<std::size_t>(groups * kTile * 4));
        for (Index i = 0; i < kTile; ++i) {
            const Index row = b * kTile + i;
            scales[i] = 1.0f;
            if (row >= outputs) continue;
            const float* from = weight + row * stride;
            scales[i] = scale_of(largest(from, depth));
            const float inverse = 1.0f / scales[i];
            for (Index k = 0; k < depth; k += kLanes) {
                std::int8_t rounded[kLanes];
                _mm_storeu_si128(reinterpret_cast<__m128i*>(rounded),
                                 eight_bits(get(from + k, depth - k), inverse));
                for (Index j = 0; j < kLanes; ++j) {  // in whole tiles, with zeros
                    bytes[((k + j) / 4 * kTile + i) * 4 + (k + j) % 4] = rounded[j];
                    sums[i] += kZero * rounded[j];
                }
            }
        }
        store(scales + kTile, from_bits(sums));
    }
}

// Four factors in each lane.
struct QuadDot {
    using Sums = Ints;
    TIDEGATE_INLINE static Ints add(Ints sums, std::uint32_t x, Vec weights) {
        return (Ints)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32(static_cast<int>(x)),
                                         (__m512i)weights);
    }
};

// Outputs of V tiles side by side.
template <int V>
struct RoundedTile {
    const std::uint32_t* operand;  // [rows, groups] of four factors
    const float* operand_scales;   // [rows]
    const float* weights[V];
    Index groups;
    float* result;
    Index outputs;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        Ints sums[R][V] = {};
        multiply_groups<QuadDot, R, V>(sums, operand + first * groups, weights, groups);
        for (int v = 0; v < V; ++v) {
            const float* const after = weights[v] + groups * kTile;
            const Vec scale = load(after);
            const Ints zeros = bits(load(after + kTile));
            for (int r = 0; r < R; ++r) {
                const Vec exact = _mm512_cvtepi32_ps((__m512i)(sums[r][v] - zeros));
                store(result + (first + r) * outputs + v * kTile,
                      exact * scale * broadcast(operand_scales[first + r]));
            }
        }
    }
};

// A product over `rows` rows, in workspace: first its operand and scales, then its result.
struct RoundedProduct {
    Index outputs, depth;   // in whole tiles
    std::uint8_t* operand;  // [rows, depth]
    float* scales;          // [rows]
    float* result;          // [rows, outputs]

    static Index floats(Index rows, Index outputs, Index depth) {
        return round_up(rows, kTile) *
               (round_up(depth, kTileDepth) / 4 + 1 + round_up(outputs, kTile));
    }

    RoundedProduct(float* workspace, Index rows, Index outputs, Index depth)
        : outputs(round_up(outputs, kTile)),
          depth(round_up(depth, kTileDepth)),
          operand(reinterpret_cast<std::uint8_t*>(workspace)),
          scales(workspace + round_up(rows, kTile) * this->depth / 4),
          result(scales + round_up(rows, kTile)) {}

    // All factors of a row.
    void set(Index row, const float* values, Index count) const {
        const float most = largest(values, count);
        scales[row] = most == most ? scale_of(most) : most;
        const float inverse = 1.0f / scales[row];
        std::uint8_t* out = operand + row * depth;
        for (Index i = 0; i < depth; i += kLanes) {
            const Vec v = i < count ? get(values + i, count - i) : Vec{};
            const __m128i zeros = _mm_set1_epi8(static_cast<char>(kZero));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                             _mm_xor_si128(eight_bits(v, inverse), zeros));
        }
    }

    // result = operand * packed weights, for the first `rows` rows, which are set.
    void multiply(Index rows, const float* packed) const {
        const Panels panels(outputs, 3);
        for (Index p = 0; p < panels.count; ++p)
            switch_width<3>(panels.width(p), [&](auto width) {
                constexpr int V = decltype(width)::value;
                const Index first = panels.first(p);
                RoundedTile<V> tile{reinterpret_cast<const std::uint32_t*>(operand),
                                    scales,
                                    {},
                                    depth / 4,
                                    result + first * kTile,
                                    outputs};
                for (Index v = 0; v < V; ++v)
                    tile.weights[v] = packed + (first + v) * tile_floats(depth);
                for_each_tile<max_rows(V)>(rows, tile);
            });
    }
};

}  // namespace tidegate::TIDEGATE_ISA
