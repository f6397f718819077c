// Every cell's sweeps of one instruction set over odd shapes, against the reference in double:
// outputs value by value, gradients as slopes along random directions.
//
//     sweep_test ISA      exits with 77 where this machine cannot run it
#include <cstdio>
#include <functional>
#include <set>

#include "calls.h"
#include "test_cells.h"

// The engine's own workspace begins as NaN too.
extern "C" const char* __asan_default_options() {
    return "malloc_fill_byte=255:max_malloc_fill_size=1073741824";
}

namespace {

using namespace tests;

// Of the largest value: float32, up to 33 steps of 64 units; 2e-5 was seen. A step that takes means
// normalises by them: it divides by the spread of its units, and that of three may be so small that
// a step multiplies what the one before it rounded. Of 40 million values one was 5.6e-5 off.
constexpr double kTolerance = 5e-5, kToleranceOfMeans = 5e-4;
// Factors of 8 bits. What many steps make of their errors has no bound worth a name: so values are
// compared up to kRoundedSteps. A rounded factor may put a unit to the other side of a bend, of
// relu or of the greater of two, and then its gradient is another one.
constexpr double kRoundedTolerance = 0.05, kRoundedBendTolerance = 0.6;
const std::set<std::string> kBend = {"rnn_relu", "gru_light", "indrnn", "test_ratios"};
constexpr Index kRoundedSteps = 2;
double tolerance = kTolerance;  // of the cell at hand
// Of the options, for every shape. Under the address sanitizer a draw takes several times as long.
#ifdef __SANITIZE_ADDRESS__
constexpr int kDraws = 1;
#else
constexpr int kDraws = 2;
#endif

int comparisons = 0, failures = 0;

std::string describe(const Problem& p) {
    const Options& o = p.options;
    char text[160];
    const char* const masks[] = {"", " mask", " mask per gate"};
    std::snprintf(text, sizeof text, "%s T=%d B=%d I=%d H=%d%s%s%s%s%s%s, %d thread(s)%s",
                  p.cell.name, int(p.shape.T), int(p.shape.B), int(p.shape.I), int(p.shape.H),
                  o.ragged ? " ragged" : "", o.reverse ? " reverse" : "", o.bias ? " bias" : "",
                  masks[int(o.masks)], o.in_place ? " in-place" : "",
                  o.of_final_state ? " of-final-state" : "", o.threads,
                  o.by_units ? " by units" : "");
    return text;
}

// `scale` is what the error is relative to, at least 1; a NaN fails.
void expect_close(const Problem& p, const char* what, double got, double wanted, double scale) {
    if (p.kernels.rounded && p.shape.T > kRoundedSteps && std::isfinite(got)) return;
    ++comparisons;
    if (std::abs(got - wanted) <= tolerance * std::max(1.0, scale)) return;
    if (++failures <= 20)
        std::printf("%s: %s: expected %.7g, got %.7g\n", describe(p).c_str(), what, wanted, got);
}

void expect_close(const Problem& p, const char* what, const Floats& got, const Reals& wanted) {
    double largest = 0;
    for (const double v : wanted) largest = std::max(largest, std::abs(v));
    if (got.size() != wanted.size()) {
        expect_close(p, what, double(got.size()), double(wanted.size()), 1);
        return;
    }
    for (std::size_t i = 0; i < got.size(); ++i) expect_close(p, what, got[i], wanted[i], largest);
}

void expect_outputs(const Problem& p, const char* what, const Outputs& got,
                    const reference::Outputs& wanted) {
    expect_close(p, what, got.y, wanted.y);
    for (int k = 0; k < p.cell.states; ++k) expect_close(p, what, got.final[k], wanted.final[k]);
}

reference::Outputs exact(const Outputs& got) {
    reference::Outputs out{tests::exact(got.y), {}};
    for (const Floats& each : got.final) out.final.push_back(tests::exact(each));
    return out;
}

double loss(const Problem& p, const reference::Layer& layer) {
    const reference::Outputs out = reference::run(layer);
    double sum = 0;
    for (std::size_t i = 0; i < out.y.size(); ++i)
        if (!std::isnan(p.d_y[i])) sum += out.y[i] * p.d_y[i];
    if (p.options.of_final_state)
        for (int k = 0; k < p.cell.states; ++k)
            for (std::size_t i = 0; i < out.final[k].size(); ++i)
                sum += out.final[k][i] * p.d_final[k][i];
    return sum;
}

// The slope of the loss along a random direction of `variable`, by central differences, against
// the same from the gradient.
void expect_slope(const Problem& p, const char* what, reference::Layer& layer, Reals& variable,
                  const Floats& gradient, Random& random) {
    // its error, step^2 and some 1e-13 / step, is below float32's; a wider one now and then crosses
    // the bend of relu
    constexpr double kStep = 1e-7;
    const Reals middle = variable, direction = tests::exact(draw(random, Index(middle.size()), 1));
    const auto loss_at = [&](double step) {
        for (std::size_t i = 0; i < middle.size(); ++i)
            variable[i] = middle[i] + step * direction[i];
        return loss(p, layer);
    };
    const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    variable = middle;
    double sum = 0, scale = 0;
    for (std::size_t i = 0; i < middle.size(); ++i) {
        sum += gradient[i] * direction[i];
        scale += std::abs(gradient[i] * direction[i]);
    }
    // of a sum over all tokens, rounded factors leave the errors of its terms, however small it is
    if (p.kernels.rounded) scale = std::max(scale, std::sqrt(double(p.shape.T * p.shape.B)));
    expect_close(p, what, sum, slope, scale);
}

void expect_gradients(const Problem& p, const Gradients& got, Random& random) {
    reference::Layer layer = p.reference;
    const auto expect = [&](const char* what, Reals& variable, const Floats& gradient) {
        if (!variable.empty()) expect_slope(p, what, layer, variable, gradient, random);
    };
    expect("d input product", layer.products, got.products);
    expect("d weight_hh", layer.weight_hh, got.weight_hh);
    expect("d bias_hh", layer.bias_hh, got.bias_hh);
    for (std::size_t k = 0; k < got.vectors.size(); ++k)
        expect("d vector", layer.vectors[k], got.vectors[k]);
    for (std::size_t k = 0; k < got.projections.size(); ++k)
        expect("d projection", layer.projections[k], got.projections[k]);
    for (std::size_t k = 0; k < got.state0.size(); ++k)
        expect("d initial state", layer.state0[k], got.state0[k]);
}

void expect_finite(const Problem& p, const char* what, const Floats& values) {
    for (const float v : values) expect_close(p, what, v - v, 0, 1);
}

void check(const Kernels& kernels, const CellKernels& kernel, Shape shape, Options options,
           Random& random) {
    Problem problem(kernels, kernel, shape, options, random);
    Calls calls(problem);
    // of a cell that nobody has written by hand: what training computes
    const bool by_hand = reference::kSteps.count(kernel.cell->name) > 0;
    const reference::Outputs wanted =
        by_hand ? reference::run(problem.reference) : exact(calls.train().outputs);
    const bool streams = !options.ragged && !options.reverse && options.masks == Masks::kNone;
    // sets that round only train
    if (!kernels.rounded) expect_outputs(problem, "inference", calls.infer(), wanted);
    if (!kernels.rounded && streams) expect_outputs(problem, "stream", calls.stream(), wanted);
    Saved saved = calls.train();
    expect_outputs(problem, "training", saved.outputs, wanted);
    const Gradients gradients = calls.backward(saved);
    const Index G = kernel.cell->gates, H = shape.H;
    Reals sums(G * H);
    for (std::size_t i = 0; i < gradients.products.size(); ++i)
        sums[i % (G * H)] += gradients.products[i];
    expect_close(problem, "d bias_ih", gradients.bias_ih, sums);
    for (const Floats* each : gradients.all()) expect_finite(problem, "finite gradient", *each);
    if (by_hand && shape.T * shape.B * H * H <= 20000) expect_gradients(problem, gradients, random);
}

// What is around a step, whatever the step computes.
std::string kind_of(const Cell& cell) {
    const int of[] = {cell.forward_phases, cell.backward_phases, cell.forward[0].fused,
                      cell.products > 0,   cell.states > 1,      cell.projections()};
    std::string kind;
    for (const int each : of) kind += std::to_string(each) + ' ';
    return kind;
}

bool takes_means(const Cell& cell) {
    for (int phase = 0; phase < cell.forward_phases; ++phase)
        if (cell.forward[phase].means) return true;
    return false;
}

// Every shape with fresh draws of the options.
void check_cell(const Kernels& kernels, const CellKernels& kernel, Random& random) {
    const Index sizes[] = {1, 3, 17, 64};
    const auto coin = [&] { return std::bernoulli_distribution(0.5)(random); };
    for (const Index T : {1, 2, 33})
        for (const Index B : sizes)
            for (const Index H : sizes)
                for (int i = 0; i < kDraws; ++i) {
                    const bool ragged = coin(), reverse = coin(), bias = coin();
                    const auto masks = static_cast<Masks>(random() % 3);
                    const bool in_place = coin(), of_final_state = coin();
                    const int threads = 1 + static_cast<int>(random() % 3);
                    const bool by_units = threads > 1 && coin();
                    check(
                        kernels, kernel, {T, B, sizes[random() % 4], H},
                        {ragged, reverse, bias, masks, in_place, of_final_state, threads, by_units},
                        random);
                }
}

}  // namespace

void tests::add_test_cells(const char* isa, const CellKernels* cells, int count) {
    test_cells()[isa].assign(cells, cells + count);
}

int main(int count, char** arguments) {
    const std::string wanted = count > 1 ? arguments[1] : "baseline";
    const Kernels* kernels = kernels_named(wanted);
    if (!kernels) {
        std::printf("%s: this machine cannot run it\n", wanted.c_str());
        return 77;
    }
    Random random(1);
    const std::vector<CellKernels> cells = all_cells(*kernels);
    std::set<std::string> by_hand;  // kinds of cells that are
    for (const CellKernels& each : cells)
        if (reference::kSteps.count(each.cell->name)) by_hand.insert(kind_of(*each.cell));
    int checked = 0;
    for (const CellKernels& each : cells) {
        const std::string name = each.cell->name;
        if (!reference::kSteps.count(name) && by_hand.count(kind_of(*each.cell))) continue;
        ++checked;
        tolerance = takes_means(*each.cell) ? kToleranceOfMeans : kTolerance;
        if (kernels->rounded)
            tolerance = kBend.count(name) ? kRoundedBendTolerance : kRoundedTolerance;
        check_cell(*kernels, each, random);
    }
    std::printf("%s: %d of %d cells, %d comparisons, %d failed\n", kernels->isa, checked,
                int(cells.size()), comparisons, failures);
    return failures ? 1 : 0;
}
