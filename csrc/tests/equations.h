// Every cell's equations by hand, in double, from its paper; those of cells.py from its text.
#pragma once

#include <cmath>
#include <numeric>

#include "reference.h"

namespace reference {

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

inline std::vector<Reals> rnn_tanh(const Row& row) {
    return {row.each([&](Index j) { return std::tanh(row.sum(0, j)); })};
}

inline std::vector<Reals> rnn_relu(const Row& row) {
    return {row.each([&](Index j) { return std::max(row.sum(0, j), 0.0); })};
}

// h and c of gates that see nothing but x and h.
inline std::vector<Reals> long_short(const Row& row, int i, int f, int g, int o) {
    Reals h(row.layer.H), c(row.layer.H);
    for (Index j = 0; j < row.layer.H; ++j) {
        const double writes = sigmoid(row.sum(i, j));
        const double keeps = f < 0 ? 1 - writes : sigmoid(row.sum(f, j));
        c[j] = keeps * row.before[1][j] + writes * std::tanh(row.sum(g, j));
        h[j] = sigmoid(row.sum(o, j)) * std::tanh(c[j]);
    }
    return {h, c};
}

inline std::vector<Reals> lstm(const Row& row) { return long_short(row, 0, 1, 2, 3); }

inline std::vector<Reals> lstm_coupled(const Row& row) { return long_short(row, 0, -1, 1, 2); }

inline std::vector<Reals> lstm_projected(const Row& row) {
    const std::vector<Reals> states = long_short(row, 0, 1, 2, 3);
    return {row.projected(0, states[0]), states[1]};
}

inline std::vector<Reals> lstm_peephole(const Row& row) {
    Reals h(row.layer.H), c(row.layer.H);
    for (Index j = 0; j < row.layer.H; ++j) {
        const double before = row.before[1][j];
        const double i = sigmoid(row.sum(0, j) + row.vector(0, j) * before);
        const double f = sigmoid(row.sum(1, j) + row.vector(1, j) * before);
        c[j] = f * before + i * std::tanh(row.sum(2, j));
        h[j] = sigmoid(row.sum(3, j) + row.vector(2, j) * c[j]) * std::tanh(c[j]);
    }
    return {h, c};
}

inline std::vector<Reals> gru(const Row& row) {
    return {row.each([&](Index j) {
        const double r = sigmoid(row.sum(0, j)), z = sigmoid(row.sum(1, j));
        const double n = std::tanh(row.w(2, j) + r * row.u(2, j, row.before[0]));
        return (1 - z) * n + z * row.before[0][j];
    })};
}

inline std::vector<Reals> gru_reset_before(const Row& row) {
    const Reals& h = row.before[0];
    const Reals reset = row.each([&](Index j) { return sigmoid(row.sum(0, j)) * h[j]; });
    return {row.each([&](Index j) {
        const double z = sigmoid(row.sum(1, j));
        return (1 - z) * std::tanh(row.w(2, j) + row.u(2, j, reset)) + z * h[j];
    })};
}

inline std::vector<Reals> mgu(const Row& row) {
    const Reals& h = row.before[0];
    const Reals f = row.each([&](Index j) { return sigmoid(row.sum(0, j)); });
    const Reals seen = row.each([&](Index j) { return f[j] * h[j]; });
    return {row.each([&](Index j) {
        return (1 - f[j]) * h[j] + f[j] * std::tanh(row.w(1, j) + row.u(1, j, seen));
    })};
}

// A unit's own past stands for a product; so no unit sees another.
inline std::vector<Reals> indrnn(const Row& row) {
    return {row.each(
        [&](Index j) { return std::max(row.w(0, j) + row.vector(0, j) * row.before[0][j], 0.0); })};
}

inline std::vector<Reals> mingru(const Row& row) {
    return {row.each([&](Index j) {
        const double z = sigmoid(row.w(0, j));
        return row.before[0][j] + z * (row.w(1, j) - row.before[0][j]);
    })};
}

inline std::vector<Reals> gru_diagonal(const Row& row) {
    return {row.each([&](Index j) {
        const double h = row.before[0][j];
        const double r = sigmoid(row.w(0, j) + row.vector(0, j) * h);
        const double z = sigmoid(row.w(1, j) + row.vector(1, j) * h);
        return (1 - z) * std::tanh(row.w(2, j) + row.vector(2, j) * r * h) + z * h;
    })};
}

inline std::vector<Reals> lstm_diagonal(const Row& row) {
    Reals h(row.layer.H), c(row.layer.H);
    for (Index j = 0; j < row.layer.H; ++j) {
        const double h0 = row.before[0][j], c0 = row.before[1][j];
        // vectors: f, g, o of h, then f, o of c
        const double f = sigmoid(row.w(0, j) + row.vector(0, j) * h0 + row.vector(3, j) * c0);
        c[j] = f * c0 + (1 - f) * std::tanh(row.w(1, j) + row.vector(1, j) * h0);
        h[j] = sigmoid(row.w(2, j) + row.vector(2, j) * h0 + row.vector(4, j) * c[j]) *
               std::tanh(c[j]);
    }
    return {h, c};
}

// Gates d, r, z, n, of which the first has no recurrent block.
inline std::vector<Reals> gru_decay(const Row& row) {
    const Reals h =
        row.each([&](Index j) { return std::exp(-std::max(row.w(0, j), 0.0)) * row.before[0][j]; });
    return {row.each([&](Index j) {
        const double r = sigmoid(row.w(1, j) + row.u(0, j, h));
        const double z = sigmoid(row.w(2, j) + row.u(1, j, h));
        return (1 - z) * std::tanh(row.w(3, j) + r * row.u(2, j, h)) + z * h[j];
    })};
}

// Gates t, a, s, g, n, of which the first has no recurrent block.
inline std::vector<Reals> cfc(const Row& row) {
    const Reals& h = row.before[0];
    return {row.each([&](Index j) {
        const double rate = row.w(1, j) + row.u(0, j, h);
        const double s = sigmoid(rate * row.w(0, j) + row.w(2, j) + row.u(1, j, h));
        return (1 - s) * std::tanh(row.w(3, j) + row.u(2, j, h)) +
               s * std::tanh(row.w(4, j) + row.u(3, j, h));
    })};
}

// Gates i, f, z, o; states h, c, n, m. What has less than half in n has not begun.
inline std::vector<Reals> slstm(const Row& row) {
    const Index H = row.layer.H;
    Reals h(H), c(H), n(H), m(H);
    for (Index j = 0; j < H; ++j) {
        const double i = row.sum(0, j),
                     kept = row.before[3][j] - std::log1p(std::exp(-row.sum(1, j)));
        const bool begun = row.before[2][j] >= 0.5;
        m[j] = begun ? std::max(kept, i) : i;
        const double writes = std::exp(i - m[j]), keeps = begun ? std::exp(kept - m[j]) : 0;
        c[j] = keeps * row.before[1][j] + writes * std::tanh(row.sum(2, j));
        n[j] = keeps * row.before[2][j] + writes;
        h[j] = sigmoid(row.sum(3, j)) * c[j] / n[j];
    }
    return {h, c, n, m};
}

inline std::vector<Reals> test_norm(const Row& row) {
    const double H = static_cast<double>(row.layer.H);
    const Reals a = row.each([&](Index j) { return row.sum(0, j); });
    const double mean = std::accumulate(a.begin(), a.end(), 0.0) / H;
    double spread = 0;
    for (const double v : a) spread += (v - mean) * (v - mean) / H;
    return {row.each([&](Index j) {
        const double normed = (a[j] - mean) / std::sqrt(spread + 0.25);
        const double b = sigmoid(row.w(1, j) + row.vector(2, j));
        return std::tanh(row.vector(0, j) * normed + row.vector(1, j)) * b + 0.5 * row.before[0][j];
    })};
}

inline std::vector<Reals> test_two_products(const Row& row) {
    const Reals &h = row.before[0], &c = row.before[1];
    // blocks of weight_hh: a, b, c, d; input products: a, b
    const Reals d = row.each([&](Index j) { return sigmoid(row.u(3, j, h)); });
    const Reals after = row.each([&](Index j) {
        const double a = sigmoid(row.w(0, j) + row.u(0, j, h));
        return a * c[j] + (1 - a) * std::tanh(row.w(1, j) + row.u(1, j, c));
    });
    const Reals seen = row.each([&](Index j) { return d[j] * c[j]; });
    return {row.each([&](Index j) { return d[j] * std::tanh(after[j] + row.u(2, j, seen)); }),
            after};
}

inline std::vector<Reals> test_no_products(const Row& row) {
    const Reals c = row.each([&](Index j) {
        const double f = sigmoid(row.w(0, j) + row.vector(0, j) * row.before[1][j]);
        return f * row.before[1][j] + (1 - f) * row.w(1, j);
    });
    return {row.each([&](Index j) {
                const double r = sigmoid(row.w(2, j) + row.vector(1, j) * row.before[0][j]);
                return r * std::max(c[j], 0.0) + (1 - r) * row.w(1, j);
            }),
            c};
}

inline std::vector<Reals> test_ratios(const Row& row) {
    Reals h(row.layer.H), c(row.layer.H), n(row.layer.H);
    for (Index j = 0; j < row.layer.H; ++j) {
        const double i = std::exp(std::min(row.sum(0, j), 1.5));
        const double f = std::log(1 + std::exp(row.sum(1, j)));
        c[j] = (f * row.before[1][j] + i * std::tanh(row.sum(2, j))) / (1 + f + i);
        n[j] = std::max(0.5 * row.before[2][j], i);
        h[j] = sigmoid(row.sum(3, j)) * c[j] / (1 + n[j] * n[j]);
    }
    return {h, c, n};
}

// Gates 2 and 3 are the noises: to the engine they are input products.
inline std::vector<Reals> test_noise(const Row& row) {
    const Reals& h = row.before[0];
    const Reals a = row.each([&](Index j) { return sigmoid(row.sum(0, j) + 0.5 * row.w(2, j)); });
    const Reals seen = row.each([&](Index j) { return a[j] * h[j]; });
    return {row.each([&](Index j) {
        const double b = std::tanh(row.w(1, j) + row.u(1, j, seen));
        return a[j] * h[j] + (1 - a[j]) * (b + 0.3 * b * row.w(3, j));
    })};
}

inline std::vector<Reals> test_three_levels(const Row& row) {
    const Reals& h = row.before[0];
    const auto times = [&](const Reals& a, const Reals& b) {
        return row.each([&](Index j) { return a[j] * b[j]; });
    };
    const Reals r = row.each([&](Index j) { return sigmoid(row.sum(0, j)); });
    const Reals rh = times(r, h);
    const Reals n = row.each([&](Index j) { return std::tanh(row.w(1, j) + row.u(1, j, rh)); });
    const Reals nr = times(n, r);
    const Reals v = row.each([&](Index j) { return sigmoid(row.w(2, j) + row.u(2, j, nr)); });
    const Reals vh = times(v, h);
    return {row.each([&](Index j) {
        const double e = std::tanh(row.w(3, j) * r[j] + row.u(3, j, vh));
        return (1 - r[j]) * h[j] + r[j] * (v[j] * n[j] + (1 - v[j]) * e) +
               0.1 * std::tanh(row.w(0, j)) * row.w(1, j);
    })};
}

inline std::vector<Reals> test_projections(const Row& row) {
    const Reals a = row.each([&](Index j) { return sigmoid(row.sum(0, j)); });
    const Reals c = row.each(
        [&](Index j) { return a[j] * row.before[2][j] + (1 - a[j]) * std::tanh(row.sum(1, j)); });
    return {row.projected(0, row.each([&](Index j) { return std::tanh(c[j]); })),
            row.projected(1, row.each([&](Index j) { return a[j] * c[j]; })), c};
}

inline const std::map<std::string, Step> kSteps{{"rnn_tanh", rnn_tanh},
                                                {"rnn_relu", rnn_relu},
                                                {"lstm", lstm},
                                                {"lstm_coupled", lstm_coupled},
                                                {"lstm_peephole", lstm_peephole},
                                                {"lstm_projected", lstm_projected},
                                                {"gru", gru},
                                                {"gru_reset_before", gru_reset_before},
                                                {"mgu", mgu},
                                                {"indrnn", indrnn},
                                                {"mingru", mingru},
                                                {"gru_diagonal", gru_diagonal},
                                                {"lstm_diagonal", lstm_diagonal},
                                                {"gru_decay", gru_decay},
                                                {"cfc", cfc},
                                                {"slstm", slstm},
                                                {"test_norm", test_norm},
                                                {"test_two_products", test_two_products},
                                                {"test_no_products", test_no_products},
                                                {"test_ratios", test_ratios},
                                                {"test_three_levels", test_three_levels},
                                                {"test_noise", test_noise},
                                                {"test_projections", test_projections}};

inline Step step_of(const std::string& cell) { return kSteps.at(cell); }

}  // namespace reference
