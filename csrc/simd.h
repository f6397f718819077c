// Vec: as many float32 lanes as the instruction set of this compilation has, and exp, tanh, sigmoid
// on it. Everything lives in a namespace named after the instruction set: see CMakeLists.txt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define TIDEGATE_X86 1
#elif defined(__aarch64__)
#include <arm_neon.h>
#define TIDEGATE_NEON 1
#endif

#define TIDEGATE_INLINE inline __attribute__((always_inline))
#define TIDEGATE_NOINLINE __attribute__((noinline))

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

// 1 / d for d in [1, 2^126]; NaN stays NaN. AVX-512: 14-bit estimate and one Newton step, which
// takes a sixth of the time of a division; max error 1 ULP. Elsewhere the division itself.
TIDEGATE_INLINE Vec reciprocal(Vec d) {
#if defined(__AVX512F__)
    const Vec estimate = _mm512_rcp14_ps(d);
    const Vec error = _mm512_fnmadd_ps(d, estimate, broadcast(1.0f));
    return multiply_add(estimate, error, estimate);
#else
    return broadcast(1.0f) / d;
#endif
}

// exp(x) = 2^n * (1 + p) with n the integer nearest x / ln 2.
struct ReducedExp {
    Vec p;   // e^r - 1 for the remainder r in [-ln 2 / 2, ln 2 / 2]; relative error below 2^-23
    Ints n;  // as an integer, plus kBias; upper bits undefined
};
constexpr std::int32_t kBias = 127;  // of a float32's exponent

// |x| <= 2^20; NaN gives p = NaN. Polynomial of Cephes' expf (S. L. Moshier, 1989).
TIDEGATE_INLINE ReducedExp reduce_exp(Vec x) {
    // Adding 1.5 * 2^23 leaves no bits for a fraction: the sum is rounded to the nearest integer,
    // which then stands in the low bits of the significand; with the bias, as an exponent.
    const Vec magic = broadcast(12582912.0f + kBias);
    const Vec shifted = multiply_add(x, broadcast(1.44269504088896341f), magic);
    const Vec n = shifted - magic;
    // ln 2 in two parts; the first has 9 bits, so that n times it is exact without fused operations
    Vec r = multiply_add(n, broadcast(-0.693359375f), x);
    r = multiply_add(n, broadcast(2.12194440e-4f), r);
    Vec q = broadcast(1.9875691500e-4f);
    q = multiply_add(q, r, broadcast(1.3981999507e-3f));
    q = multiply_add(q, r, broadcast(8.3334519073e-3f));
    q = multiply_add(q, r, broadcast(4.1665795894e-2f));
    q = multiply_add(q, r, broadcast(1.6666665459e-1f));
    q = multiply_add(q, r, broadcast(5.0000001201e-1f));
    return {multiply_add(q, r * r, r), bits(shifted)};
}

// 2^n for -126 <= n <= 127, of n as ReducedExp has it.
TIDEGATE_INLINE Vec power_of_two(Ints biased) { return from_bits(biased << 23); }

// Bounds in units in the last place of the correctly rounded result (denormals included, unless the
// caller has set flush-to-zero); tests/test_math.py asserts them for every instruction set.
constexpr double kExpMaxUlp = 1.5;
constexpr double kTanhMaxUlp = 3.0;
constexpr double kSigmoidMaxUlp = 2.5;

// sigmoid(x) below this is returned as sigmoid(-87) = 1.6e-38.
constexpr float kSigmoidLowest = -87.0f;

// All x: overflows to inf above 88.72, reaches 0 below -103.97; max error kExpMaxUlp.
TIDEGATE_INLINE Vec exp(Vec x) {
    const ReducedExp e = reduce_exp(clamp(x, -104.0f, 89.0f));
    // two factors: 2^128 and 2^-150 are no float32
    const Ints n = e.n - (bits(broadcast(12582912.0f)) + kBias), half = n >> 1;
    return ((e.p + broadcast(1.0f)) * power_of_two(half + kBias)) * power_of_two(n - half + kBias);
}

// x >= kSigmoidLowest: max error kSigmoidMaxUlp.
TIDEGATE_INLINE Vec sigmoid(Vec x) {
    const ReducedExp e = reduce_exp(-clamp(x, kSigmoidLowest, 87.0f));
    const Vec scale = power_of_two(e.n);
    return reciprocal(multiply_add(scale, e.p, scale) + broadcast(1.0f));
}

// All x: max error kTanhMaxUlp, odd, |tanh| <= 1. With u = 1 - exp(-2|x|), tanh|x| = u / (2 - u);
// u is formed as (1 - 2^n) - 2^n p, which keeps its relative accuracy as x goes to 0.
TIDEGATE_INLINE Vec tanh(Vec x) {
    const Ints sign = bits(x) & INT32_MIN;
    const Vec magnitude = from_bits(bits(x) & INT32_MAX);
    const ReducedExp e = reduce_exp(clamp(magnitude * broadcast(-2.0f), -40.0f, 0.0f));
    const Vec scale = power_of_two(e.n);
    const Vec u = multiply_add(-scale, e.p, broadcast(1.0f) - scale);
    return from_bits(bits(u * reciprocal(broadcast(2.0f) - u)) | sign);
}

// max(x, 0); NaN stays NaN.
TIDEGATE_INLINE Vec relu(Vec x) { return x < broadcast(0.0f) ? broadcast(0.0f) : x; }

// 1 where x > 0, else 0: the derivative of relu.
TIDEGATE_INLINE Vec positive(Vec x) {
    return x > broadcast(0.0f) ? broadcast(1.0f) : broadcast(0.0f);
}

}  // namespace tidegate::TIDEGATE_ISA
