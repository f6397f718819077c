// Large products of one instruction set over odd shapes, each factor as it stands and transposed,
// against sums in double. Every array ends where its last number does, and c is NaN before.
//
//     product_test ISA      exits with 77 where this machine cannot run it
#include <algorithm>
#include <cstdio>

#include "calls.h"
#include "engine/shared_product.h"

namespace {

using namespace tests;

int failures = 0;

// Of the sum of the terms' magnitudes: float32, up to 530 terms; two factors of 8 bits.
constexpr double kTolerance = 3e-6, kRoundedTolerance = 2 * 0x1p-8;

struct Matrix {
    Index rows, columns, stride;
    bool transposed;
    Floats values;  // of rows, or of columns

    Matrix(Random& random, Index rows, Index columns, bool transposed)
        : rows(rows),
          columns(columns),
          stride((transposed ? rows : columns) + Index(random() % 3)),
          transposed(transposed) {
        const Index lines = transposed ? columns : rows;
        values = draw(random, lines ? (lines - 1) * stride + (transposed ? rows : columns) : 0, 1);
    }

    double at(Index row, Index column) const {
        return values[std::size_t(transposed ? column * stride + row : row * stride + column)];
    }
    tidegate::Operand operand() const { return {values.data(), stride, transposed}; }
};

void check(const tidegate::Kernels& kernels, Index M, Index N, Index K, Random& random,
           double tolerance) {
    const Matrix a(random, M, K, random() % 2), b(random, K, N, random() % 2);
    const int way = int(random() % 3);  // alone, with a bias, added
    const Floats bias = draw(random, N, 1);
    const Index stride = N + Index(random() % 3);
    Floats start = way == 2 ? draw(random, (M - 1) * stride + N, 1) : nans((M - 1) * stride + N);
    Floats c[2];
    for (const int threads : {1, 2}) {
        Floats& out = c[threads - 1] = start;
        tidegate::multiply(kernels,
                           {a.operand(), b.operand(), way == 1 ? bias.data() : nullptr, out.data(),
                            stride, M, N, K, way == 2},
                           threads);
    }
    double worst = 0;
    for (Index i = 0; i < M; ++i)
        for (Index j = 0; j < N; ++j) {
            const std::size_t at = std::size_t(i * stride + j);
            double sum = way == 1 ? bias[std::size_t(j)] : way == 2 ? start[at] : 0.0;
            double magnitude = std::abs(sum) + 1e-30;
            for (Index k = 0; k < K; ++k) {
                sum += a.at(i, k) * b.at(k, j);
                magnitude += std::abs(a.at(i, k) * b.at(k, j));
            }
            for (const Floats& out : c) {
                const double error = std::abs(out[at] - sum) / magnitude;
                if (!(error <= worst)) worst = error;  // a NaN stays
            }
        }
    if (worst <= tolerance) return;
    if (++failures <= 20)
        std::printf("[%d, %d] of %d factors, %d %d, way %d: error %.3g\n", int(M), int(N), int(K),
                    a.transposed, b.transposed, way, worst);
}

}  // namespace

int main(int count, char** arguments) {
    const std::string wanted = count > 1 ? arguments[1] : "baseline";
    const tidegate::Kernels* kernels = tests::kernels_named(wanted);
    if (!kernels) {
        std::printf("%s: this machine cannot run it\n", wanted.c_str());
        return 77;
    }
    const double tolerance = kernels->rounded ? kRoundedTolerance : kTolerance;
    Random random(1);
    int products = 0;
    const Index sizes[] = {1, 7, 16, 33, 49, 100};
    for (const Index M : sizes)
        for (const Index N : sizes)
            for (const Index K : {0, 1, 2, 17, 31, 64}) {
                check(*kernels, M, N, K, random, tolerance);
                ++products;
            }
    // more than one block in each direction
    for (const Index M : {3, 101})
        for (const Index N : {5, 490})
            for (const Index K : {257, 530}) {
                check(*kernels, M, N, K, random, tolerance);
                ++products;
            }
    std::printf("%s: %d products, %d failed\n", wanted.c_str(), products, failures);
    return failures ? 1 : 0;
}
