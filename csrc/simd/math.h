// The functions of cells on a vector: each one's largest error is stated and tested, and a NaN that
// goes in comes out.
#pragma once

#include "simd.h"

namespace tidegate::TIDEGATE_ISA {

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
// caller has set flush-to-zero, as the engine does); tests/test_math.py asserts them for every
// instruction set.
constexpr double kExpMaxUlp = 1.5;
constexpr double kTanhMaxUlp = 3.0;
constexpr double kSigmoidMaxUlp = 2.5;
constexpr double kLogMaxUlp = 1.5;
constexpr double kRsqrtMaxUlp = 1.5;
constexpr double kErfMaxUlp = 8.0;

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

// x > 0: max error kLogMaxUlp. -inf at 0, NaN below, inf at inf. Polynomial of Cephes' logf.
TIDEGATE_INLINE Vec log(Vec x) {
    const Ints tiny = x < broadcast(1.17549435e-38f);  // denormal: 2^23 times as much is none
    const Vec scaled = tiny ? x * broadcast(8388608.0f) : x;
    // x = 2^n (1 + r) with 1 + r from the root of a half to the root of two
    constexpr std::int32_t kRootOfHalf = 0x3f3504f3;
    const Ints above = bits(scaled) - kRootOfHalf;
    const Vec r = from_bits((above & 0x7fffff) + kRootOfHalf) - broadcast(1.0f);
    const Ints exponent = (above >> 23) - (tiny & 23);
    const Vec n = __builtin_convertvector(exponent, Vec);
    Vec p = broadcast(7.0376836292e-2f);
    p = multiply_add(p, r, broadcast(-1.1514610310e-1f));
    p = multiply_add(p, r, broadcast(1.1676998740e-1f));
    p = multiply_add(p, r, broadcast(-1.2420140846e-1f));
    p = multiply_add(p, r, broadcast(1.4249322787e-1f));
    p = multiply_add(p, r, broadcast(-1.6668057665e-1f));
    p = multiply_add(p, r, broadcast(2.0000714765e-1f));
    p = multiply_add(p, r, broadcast(-2.4999993993e-1f));
    p = multiply_add(p, r, broadcast(3.3333331174e-1f));
    const Vec square = r * r;
    Vec y = p * r * square;
    y = multiply_add(n, broadcast(-2.12194440e-4f), y);
    y = multiply_add(square, broadcast(-0.5f), y);
    y = multiply_add(n, broadcast(0.693359375f), r + y);
    const Vec nan = from_bits(bits(broadcast(0.0f)) | 0x7fc00000), zero = broadcast(0.0f);
    const Vec infinity = from_bits(bits(zero) | 0x7f800000);
    y = x < infinity ? y : x;  // inf and NaN are their own
    y = x == zero ? -infinity : y;
    return x < zero ? nan : y;
}

// 1 / sqrt(x), x > 0: max error kRsqrtMaxUlp. inf at 0, NaN below.
TIDEGATE_INLINE Vec rsqrt(Vec x) {
#if defined(__AVX512F__)
    return broadcast(1.0f) / (Vec)_mm512_sqrt_ps(x);
#elif defined(__AVX2__)
    return broadcast(1.0f) / (Vec)_mm256_sqrt_ps(x);
#elif defined(TIDEGATE_X86)
    return broadcast(1.0f) / (Vec)_mm_sqrt_ps(x);
#elif defined(TIDEGATE_NEON)
    return broadcast(1.0f) / (Vec)vsqrtq_f32(x);
#else
    Vec root{};
    for (int lane = 0; lane < kLanes; ++lane) root[lane] = __builtin_sqrtf(x[lane]);
    return broadcast(1.0f) / root;
#endif
}

// All x: max error kErfMaxUlp, odd, |erf| <= 1. Rational approximation of Eigen's for float32.
TIDEGATE_INLINE Vec erf(Vec x) {
    const Vec c = clamp(x, -4.0f, 4.0f), s = c * c;
    Vec p = broadcast(-2.72614225801306e-10f);
    p = multiply_add(p, s, broadcast(2.77068142495902e-08f));
    p = multiply_add(p, s, broadcast(-2.10102402082508e-06f));
    p = multiply_add(p, s, broadcast(-5.69250639462346e-05f));
    p = multiply_add(p, s, broadcast(-7.34990630326855e-04f));
    p = multiply_add(p, s, broadcast(-2.95459980854025e-03f));
    p = multiply_add(p, s, broadcast(-1.60960333262415e-02f));
    Vec q = broadcast(-1.45660718464996e-05f);
    q = multiply_add(q, s, broadcast(-2.13374055278905e-04f));
    q = multiply_add(q, s, broadcast(-1.68282697438203e-03f));
    q = multiply_add(q, s, broadcast(-7.37332916720468e-03f));
    q = multiply_add(q, s, broadcast(-1.42647390514189e-02f));
    return clamp(c * (p / q), -1.0f, 1.0f);
}

// A NaN in either comes out.
TIDEGATE_INLINE Vec maximum(Vec a, Vec b) {
    const Vec most = a < b ? b : a;
    return b == b ? most : b;
}
TIDEGATE_INLINE Vec minimum(Vec a, Vec b) {
    const Vec least = b < a ? b : a;
    return b == b ? least : b;
}

}  // namespace tidegate::TIDEGATE_ISA
