// Products whose factors are rounded to bfloat16, summed in float32: by AMX, 16 rows times 16
// outputs over 32 factors in one instruction, or by AVX-512, 16 outputs over 2 factors. Compiled
// into the sets `amx` and `avx512bf16` alone, where they take the place of multiply_panel.
#pragma once

#include "affine.h"
#include "dot_tile.h"

namespace tidegate::TIDEGATE_ISA {

#if defined(__AVX512BF16__)
constexpr bool kRounded = true;
#else
constexpr bool kRounded = false;
#endif

constexpr Index kTile = 16;                         // rows, or outputs
constexpr Index kTileDepth = 32;                    // factors
constexpr Index kTileNumbers = kTile * kTileDepth;  // of one kilobyte

// Packed weights of a product of `depth` factors: tiles [outputs / 16][depth / 32] of 16 pairs of
// factors times 16 outputs, zeros beyond both.
inline Index rounded_panel_floats(Index outputs, Index depth) {
    return round_up(outputs, kTile) * round_up(depth, kTileDepth) / 2;
}

// Rows of weights in blocks of as many each, `stride` floats from one row to the next.
struct RowBlocks {
    const float* const* data;
    Index rows, stride;

    TIDEGATE_INLINE const float* row(Index k) const {
        return k < rows ? data[0] + k * stride : data[k / rows] + k % rows * stride;
    }
};

// Both for share `part` of `parts`. weight: [outputs, depth], `stride` floats from one row to the
// next; or [depth, outputs] in blocks.
void pack_rounded_columns(const float* weight, Index stride, Index outputs, Index depth,
                          float* packed, int part, int parts);
void pack_rounded_rows(const RowBlocks& weights, Index outputs, Index depth, float* packed,
                       int part, int parts);

// A product over `rows` rows, in workspace: first its operand, then its result.
struct RoundedProduct {
    Index outputs, depth;    // in whole tiles
    std::uint16_t* operand;  // [rows, depth] bfloat16
    float* result;           // [rows, outputs]

    static Index floats(Index rows, Index outputs, Index depth) {
        return round_up(rows, kTile) * (round_up(depth, kTileDepth) / 2 + round_up(outputs, kTile));
    }

    RoundedProduct(float* workspace, Index rows, Index outputs, Index depth)
        : outputs(round_up(outputs, kTile)),
          depth(round_up(depth, kTileDepth)),
          operand(reinterpret_cast<std::uint16_t*>(workspace)),
          result(workspace + round_up(rows, kTile) * this->depth / 2) {}

    // All factors of a row are zero.
    void clear(Index row) const {
        std::memset(operand + row * depth, 0,
                    sizeof(std::uint16_t) * static_cast<std::size_t>(depth));
    }

    // Factors from .. from + count - 1 of a row; all of them.
    void set(Index row, Index from, const float* values, Index count) const;
    void set(Index row, const float* values, Index count) const { set(row, 0, values, count); }

    // result = operand * packed weights, for the first `rows` rows, all of whose factors are set.
    void multiply(Index rows, const float* packed) const;
};

#if defined(__AVX512BF16__)

// The bits of a vector, rounded to nearest; NaN stays NaN.
TIDEGATE_INLINE __m256i rounded(Vec v) { return (__m256i)_mm512_cvtneps_pbh(v); }

// Of two vectors as lanes of pairs: the first one's number in the lower half.
TIDEGATE_INLINE Vec paired(Vec low, Vec high) {
    const __m512i upper = _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded(high)), 16);
    return (Vec)_mm512_or_si512(upper, _mm512_cvtepu16_epi32(rounded(low)));
}

inline void pack_rounded_columns(const float* weight, Index stride, Index outputs, Index depth,
                                 float* packed, int part, int parts) {
    const Index blocks = round_up(outputs, kTile) / kTile;
    const Index across = round_up(depth, kTileDepth) / kTileDepth;
    for (Index b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b)
        for (Index k = 0; k < across; ++k) {
            float* tile = packed + (b * across + k) * kTileNumbers / 2;
            Vec pairs[kLanes];  // of one output each
            for (Index i = 0; i < kTile; ++i) {
                const Index row = b * kTile + i, at = k * kTileDepth;
                Vec low{}, high{};
                if (row < outputs) {
                    const float* from = weight + row * stride + at;
                    low = get(from, depth - at);
                    if (depth - at > kLanes) high = get(from + kLanes, depth - at - kLanes);
                }
                // 32 factors in order are 16 pairs
                pairs[i] =
                    (Vec)_mm512_inserti64x4(_mm512_castsi256_si512(rounded(low)), rounded(high), 1);
            }
            transpose(pairs);
            for (Index j = 0; j < kTile; ++j) store(tile + j * kTile, pairs[j]);
        }
}

inline void pack_rounded_rows(const RowBlocks& weights, Index outputs, Index depth, float* packed,
                              int part, int parts) {
    const Index blocks = round_up(outputs, kTile) / kTile;
    const Index across = round_up(depth, kTileDepth) / kTileDepth;
    for (Index b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b)
        for (Index k = 0; k < across * kTile; ++k) {
            const Index row = 2 * k, first = b * kTile, valid = outputs - first;
            const Vec low = row < depth ? get(weights.row(row) + first, valid) : Vec{};
            const Vec high = row + 1 < depth ? get(weights.row(row + 1) + first, valid) : Vec{};
            store(packed + (b * across * kTile + k) * kTile, paired(low, high));
        }
}

inline void RoundedProduct::set(Index row, Index from, const float* values, Index count) const {
    std::uint16_t* out = operand + row * depth;
    for (Index i = 0; i < count; i += kLanes) {
        const Index valid = count - i;
        const __mmask16 lanes = valid >= kLanes ? 0xffffu : (1u << valid) - 1u;
        _mm256_mask_storeu_epi16(out + from + i, lanes,
                                 rounded(tidegate::TIDEGATE_ISA::get(values + i, valid)));
    }
    // what the next call for this row does not overwrite: zeros up to a whole tile
    for (Index i = from + count; i < depth && i % kTileDepth; ++i) out[i] = 0;
}

#if defined(__AMX_BF16__)

// The eight tile registers: sums in 0 to 3, rows in 4 and 5, weights in 6 and 7.
struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

inline void RoundedProduct::multiply(Index rows, const float* packed) const {
    const TileConfig config;
    _tile_loadconfig(&config);
    const Index across = depth / kTileDepth, down = round_up(rows, kTile);
    const auto* tiles = reinterpret_cast<const std::uint16_t*>(packed);
    const Index a_bytes = depth * Index(sizeof(std::uint16_t)),
                c_bytes = outputs * Index(sizeof(float));
    const auto weights = [&](Index output, Index k) {
        return tiles + (output / kTile * across + k) * kTileNumbers;
    };
    Index row = 0;
    for (; row + 2 * kTile <= down; row += 2 * kTile) {
        const std::uint16_t* upper = operand + row * depth;
        const std::uint16_t* lower = upper + kTile * depth;
        for (Index n = 0; n < outputs; n += 2 * kTile) {
            const bool both = n + kTile < outputs;
            float* c = result + row * outputs + n;
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (Index k = 0; k < across; ++k) {
                _tile_loadd(4, upper + k * kTileDepth, a_bytes);
                _tile_loadd(6, weights(n, k), 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_loadd(5, lower + k * kTileDepth, a_bytes);
                _tile_dpbf16ps(1, 5, 6);
                if (both) {
                    _tile_loadd(7, weights(n + kTile, k), 64);
                    _tile_dpbf16ps(2, 4, 7);
                    _tile_dpbf16ps(3, 5, 7);
                }
            }
            _tile_stored(0, c, c_bytes);
            _tile_stored(1, c + kTile * outputs, c_bytes);
            if (both) {
                _tile_stored(2, c + kTile, c_bytes);
                _tile_stored(3, c + kTile * outputs + kTile, c_bytes);
            }
        }
    }
    if (row < down) {
        const std::uint16_t* a = operand + row * depth;
        for (Index n = 0; n < outputs; n += 4 * kTile) {
            const Index blocks = (outputs - n) / kTile < 4 ? (outputs - n) / kTile : 4;
            float* c = result + row * outputs + n;
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (Index k = 0; k < across; ++k) {
                _tile_loadd(4, a + k * kTileDepth, a_bytes);
                _tile_loadd(6, weights(n, k), 64);
                _tile_dpbf16ps(0, 4, 6);
                if (blocks > 1) {
                    _tile_loadd(7, weights(n + kTile, k), 64);
                    _tile_dpbf16ps(1, 4, 7);
                }
                if (blocks > 2) {
                    _tile_loadd(6, weights(n + 2 * kTile, k), 64);
                    _tile_dpbf16ps(2, 4, 6);
                }
                if (blocks > 3) {
                    _tile_loadd(7, weights(n + 3 * kTile, k), 64);
                    _tile_dpbf16ps(3, 4, 7);
                }
            }
            _tile_stored(0, c, c_bytes);
            if (blocks > 1) _tile_stored(1, c + kTile, c_bytes);
            if (blocks > 2) _tile_stored(2, c + 2 * kTile, c_bytes);
            if (blocks > 3) _tile_stored(3, c + 3 * kTile, c_bytes);
        }
    }
    _tile_release();
}

#else

// Two factors in each lane.
struct PairDot {
    using Sums = Vec;
    TIDEGATE_INLINE static Vec add(Vec sums, std::uint32_t x, Vec weights) {
        const __m512i pairs = _mm512_set1_epi32(static_cast<int>(x));
        return _mm512_dpbf16_ps(sums, (__m512bh)pairs, (__m512bh)weights);
    }
};

// Outputs of V tiles side by side.
template <int V>
struct RoundedTile {
    const std::uint32_t* operand;  // [rows, pairs] of two factors
    const float* weights[V];       // [pairs][kTile] of two factors
    Index pairs;
    float* result;
    Index outputs;

    template <int R>
    TIDEGATE_INLINE void run(Index first) const {
        Vec sums[R][V] = {};
        multiply_groups<PairDot, R, V>(sums, operand + first * pairs, weights, pairs);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v)
                store(result + (first + r) * outputs + v * kTile, sums[r][v]);
    }
};

inline void RoundedProduct::multiply(Index rows, const float* packed) const {
    const Panels panels(outputs, 3);
    const Index floats = depth * kTile / 2;  // of a tile's outputs
    for (Index p = 0; p < panels.count; ++p)
        switch_width<3>(panels.width(p), [&](auto width) {
            constexpr int V = decltype(width)::value;
            const Index first = panels.first(p);
            RoundedTile<V> tile{reinterpret_cast<const std::uint32_t*>(operand),
                                {},
                                depth / 2,
                                result + first * kTile,
                                outputs};
            for (Index v = 0; v < V; ++v) tile.weights[v] = packed + (first + v) * floats;
            for_each_tile<max_rows(V)>(rows, tile);
        });
}

#endif
#endif

}  // namespace tidegate::TIDEGATE_ISA
