// Vec: as many float32 lanes as the instruction set of this compilation has. Everything lives in a
// namespace named after the instruction set: see engine.cmake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/inline.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define TIDEGATE_X86 1
#elif defined(__aarch64__)
#include <arm_neon.h>
#define TIDEGATE_NEON 1
#endif

namespace tidegate::TIDEGATE_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Arithmetic operators and the comparison-and-select `a < b ? c : d` are the compiler's own.
using Vec = float __attribute__((vector_size(4 * kLanes)));
using Ints = std::int32_t __attribute__((vector_size(4 * kLanes)));

TIDEGATE_INLINE Vec broadcast(float x) {
#if defined(__AVX512F__)
    return _mm512_set1_ps(x);
#elif defined(__AVX2__)
    return _mm256_set1_ps(x);
#elif defined(TIDEGATE_X86)
    return _mm_set1_ps(x);
#else
    return Vec{x, x, x, x};
#endif
}

TIDEGATE_INLINE Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

TIDEGATE_INLINE void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

#if defined(__AVX2__) && !defined(__AVX512F__)
// All bits of the first `count` lanes, none of the others.
TIDEGATE_INLINE __m256i first_lanes(std::ptrdiff_t count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}
#endif

// The first `count` floats at p, zero in the other lanes; 0 <= count <= kLanes. Reads no further.
TIDEGATE_INLINE Vec load_first(const float* p, std::ptrdiff_t count) {
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), p);
#elif defined(__AVX2__)
    return _mm256_maskload_ps(p, first_lanes(count));
#else
    Vec v{};
    for (std::ptrdiff_t i = 0; i < count; ++i) v[i] = p[i];
    return v;
#endif
}

// Writes the first `count` lanes to p and nothing beyond; 0 <= count <= kLanes.
TIDEGATE_INLINE void store_first(float* p, Vec v, std::ptrdiff_t count) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), v);
#elif defined(__AVX2__)
    _mm256_maskstore_ps(p, first_lanes(count), v);
#else
    for (std::ptrdiff_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// a * b + c, in one rounding where the instruction set can.
TIDEGATE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(TIDEGATE_NEON)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

TIDEGATE_INLINE Ints bits(Vec v) { return reinterpret_cast<Ints>(v); }
TIDEGATE_INLINE Vec from_bits(Ints v) { return reinterpret_cast<Vec>(v); }

// rows[i][j] <-> rows[j][i].
TIDEGATE_INLINE void transpose(Vec (&rows)[kLanes]) {
#if defined(__clang__)
    float values[kLanes][kLanes];
    for (int i = 0; i < kLanes; ++i) store(values[i], rows[i]);
    for (int i = 0; i < kLanes; ++i)
        for (int j = 0; j < kLanes; ++j) rows[i][j] = values[j][i];
#else
    // exchange the off-diagonal halves of 2 x 2 blocks of 1, 2, 4, ... lanes
#pragma GCC unroll 4
    for (int d = 1; d < kLanes; d *= 2) {
        Ints upper, lower;
#pragma GCC unroll 16
        for (int lane = 0; lane < kLanes; ++lane) {
            upper[lane] = lane & d ? kLanes + lane - d : lane;
            lower[lane] = lane & d ? kLanes + lane : lane + d;
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
            if (i & d) continue;
            const Vec a = rows[i], b = rows[i + d];
            rows[i] = __builtin_shuffle(a, b, upper);
            rows[i + d] = __builtin_shuffle(a, b, lower);
        }
    }
#endif
}

// Lane by lane; a NaN in x comes out as NaN (the comparison is false, x is kept).
TIDEGATE_INLINE Vec clamp(Vec x, float low, float high) {
#if defined(__AVX512F__)
    return _mm512_min_ps(broadcast(high), _mm512_max_ps(broadcast(low), x));
#elif defined(__AVX2__)
    return _mm256_min_ps(broadcast(high), _mm256_max_ps(broadcast(low), x));
#elif defined(TIDEGATE_X86)
    return _mm_min_ps(broadcast(high), _mm_max_ps(broadcast(low), x));
#else
    const Vec lo = broadcast(low), hi = broadcast(high);
    const Vec raised = lo > x ? lo : x;
    return hi < raised ? hi : raised;
#endif
}

}  // namespace tidegate::TIDEGATE_ISA
