// exp, tanh, sigmoid, log, rsqrt, erf and softmax of one instruction set keep the bounds that
// simd/math.h states, on arrays of every length up to 40 and no float beyond. tests/test_math.py
// asks more, where Python runs.
//
//     math_test ISA      exits with 77 where this machine cannot run it
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

#include "engine/kernels.h"

namespace {

int failures = 0;

// In units in the last place of the exact value.
double error_in_ulp(float got, double exact) {
    if (std::abs(exact) > double(std::numeric_limits<float>::max()))
        return std::isinf(got) ? 0 : 1e9;
    int exponent;
    std::frexp(exact, &exponent);
    return std::abs(double(got) - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

void check(const char* name, tidegate::Elementwise function, double (*exact)(double), double bound,
           float lowest) {
    double worst = 0;
    float at = 0;
    for (int count = 1, i = 0; i < 400000; i += count, count = count % 40 + 1) {
        std::vector<float> x(static_cast<std::size_t>(count)), y(x.size());
        for (int k = 0; k < count; ++k) {
            x[k] = float(i + k) * (220.0f / 400000) - 110.0f;
            if (i % 3 == 0) x[k] /= 64;  // a finer grid where the functions bend
            if (x[k] < lowest) x[k] = lowest;
        }
        function(x.data(), y.data(), count);
        for (int k = 0; k < count; ++k) {
            const double error = error_in_ulp(y[k], exact(double(x[k])));
            if (!(error <= worst)) worst = error, at = x[k];
        }
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    float of_nan = 0;
    function(&nan, &of_nan, 1);
    std::printf("%s: largest error %.2f ULP at %g, bound %.2f; of NaN: %g\n", name, worst,
                double(at), bound, double(of_nan));
    if (!(worst <= bound) || !std::isnan(of_nan)) ++failures;
}

// Rows of every length up to 40, in arrays of just their size.
void check_softmax(const tidegate::Kernels& kernels) {
    double worst = 0;
    for (int words = 1; words <= 40; ++words) {
        const int rows = 3;
        std::vector<float> logits(static_cast<std::size_t>(rows * words)), nats(rows);
        for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = float(i * 37 % 101) / 8 - 6;
        std::vector<std::int64_t> targets{0, words / 2, words - 1};
        std::vector<float> gradient = logits;
        kernels.softmax_cross_entropy(gradient.data(), rows, words, targets.data(), nats.data(),
                                      true);
        for (int r = 0; r < rows; ++r) {
            const auto at = [&](int k) { return std::size_t(r * words + k); };
            double sum = 0;
            for (int k = 0; k < words; ++k) sum += std::exp(double(logits[at(k)]));
            const double target = double(logits[at(int(targets[std::size_t(r)]))]);
            worst =
                std::max(worst, std::abs(std::log(sum) - target - double(nats[std::size_t(r)])));
            for (int k = 0; k < words; ++k) {
                const double p = std::exp(double(logits[at(k)])) / sum;
                const double exact = p - (k == targets[std::size_t(r)] ? 1 : 0);
                worst = std::max(worst, std::abs(exact - double(gradient[at(k)])));
            }
        }
    }
    std::printf("softmax: largest error %.2g\n", worst);
    if (!(worst <= 5e-6)) ++failures;
}

}  // namespace

int main(int count, char** arguments) {
    const std::string wanted = count > 1 ? arguments[1] : "baseline";
    for (const tidegate::Kernels* kernels : tidegate::available_kernels()) {
        if (wanted != kernels->isa) continue;
        const float all = -std::numeric_limits<float>::max();
        const tidegate::ErrorBounds& bounds = tidegate::kErrorBounds;
        check("exp", kernels->exp, [](double x) { return std::exp(x); }, bounds.exp, all);
        check("tanh", kernels->tanh, [](double x) { return std::tanh(x); }, bounds.tanh, all);
        check(
            "sigmoid", kernels->sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); },
            bounds.sigmoid, -87.0f);
        const float least = std::numeric_limits<float>::min();
        check("log", kernels->log, [](double x) { return std::log(x); }, bounds.log, least);
        check(
            "rsqrt", kernels->rsqrt, [](double x) { return 1 / std::sqrt(x); }, bounds.rsqrt,
            least);
        check("erf", kernels->erf, [](double x) { return std::erf(x); }, bounds.erf, all);
        check_softmax(*kernels);
        return failures ? 1 : 0;
    }
    std::printf("%s: this machine cannot run it\n", wanted.c_str());
    return 77;
}
