// The module tidegate._engine: checks what comes from Python, then calls the kernels in use.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels.h"
#include "openmp.h"
#include "shared_product.h"
#include "sweep.h"
#include "threads.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using InOut = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Lengths = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using tidegate::CellKernels;
using tidegate::Schedule;

template <class T>
nb::ndarray<nb::numpy, T> new_array(T* data, const std::vector<size_t>& shape) {
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.data(), owner);
}

// Undefined values in memory that is kept when the array dies: see memory.h.
nb::ndarray<float, nb::device::cpu> empty(const std::vector<size_t>& shape) {
    std::int64_t size = 1;
    for (const size_t length : shape) size *= static_cast<std::int64_t>(length);
    auto buffer = std::make_unique<tidegate::Buffer>(size);
    float* data = buffer->data();
    nb::capsule owner(buffer.get(),
                      [](void* p) noexcept { delete static_cast<tidegate::Buffer*>(p); });
    buffer.release();
    return {data, shape.size(), shape.data(), owner};
}

nb::ndarray<nb::numpy, float> apply(tidegate::Elementwise function, const Input& x) {
    auto values = std::make_unique<float[]>(x.size());
    {
        nb::gil_scoped_release released;
        function(x.data(), values.get(), static_cast<std::ptrdiff_t>(x.size()));
    }
    std::vector<size_t> shape(x.ndim());
    for (size_t axis = 0; axis < shape.size(); ++axis) shape[axis] = x.shape(axis);
    return new_array(values.release(), shape);
}

// `rounded`: those whose products have bfloat16 factors, where there are any.
const tidegate::Kernels& kernels_of(bool rounded) {
    const tidegate::Kernels* rounding = rounded ? tidegate::rounding_kernels() : nullptr;
    return rounding ? *rounding : tidegate::kernels();
}

const CellKernels& cell_named(const std::string& name, bool rounded = false) {
    const tidegate::Kernels& kernels = kernels_of(rounded);
    for (int i = 0; i < kernels.cell_count; ++i)
        if (name == kernels.cells[i].name) return kernels.cells[i];
    throw std::invalid_argument("cell: expected one the engine has, got '" + name + "'");
}

// The data of an array that must hold `floats` values; null for None where that is allowed.
template <class Array>
auto data_of(const char* name, const std::optional<Array>& array, std::int64_t floats,
             bool required = true) -> decltype(array->data()) {
    if (!array) {
        if (required) throw std::invalid_argument(std::string(name) + ": expected an array");
        return nullptr;
    }
    if (static_cast<std::int64_t>(array->size()) != floats)
        throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(floats) +
                                    " values, got " + std::to_string(array->size()));
    return array->data();
}

template <class Array>
const std::optional<Array>& item(const char* name, const std::vector<std::optional<Array>>& list,
                                 int k, int expected) {
    if (static_cast<int>(list.size()) != expected)
        throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(expected) +
                                    " arrays, got " + std::to_string(list.size()));
    return list[static_cast<size_t>(k)];
}

using MaybeIn = std::optional<Input>;
using MaybeOut = std::optional<InOut>;

void forward(const std::string& name, const Schedule& schedule, const Input& weight_hh,
             const MaybeIn& bias_hh, const MaybeIn& mask, const std::vector<MaybeIn>& state0,
             const MaybeOut& gates, const MaybeOut& extra, const std::vector<MaybeOut>& states,
             const std::vector<MaybeOut>& final_state, bool rounded) {
    const CellKernels& cell = cell_named(name, rounded);
    if (weight_hh.ndim() != 2) throw std::invalid_argument("weight_hh: expected [G*H, H]");
    const auto H = static_cast<std::int64_t>(weight_hh.shape(1));
    const std::int64_t B = schedule.batch, N = schedule.tokens;
    tidegate::ForwardCall call{};
    call.hidden = H;
    call.weight_hh = data_of("weight_hh", MaybeIn(weight_hh), cell.gates * H * H);
    call.bias_hh = data_of("bias_hh", bias_hh, cell.gates * H, false);
    call.mask = data_of("mask", mask, B * H, false);
    call.gates = data_of("gates", gates, N * cell.gates * H);
    call.extra = data_of("extra", extra, N * cell.extra * H, cell.extra > 0);
    for (int k = 0; k < cell.states; ++k) {
        call.state0[k] = data_of("state0", item("state0", state0, k, cell.states), B * H);
        call.states[k] = data_of("states", item("states", states, k, cell.states),
                                 (k ? N : schedule.steps * B) * H);
        call.final[k] = data_of("final", item("final", final_state, k, cell.states), B * H);
    }
    nb::gil_scoped_release released;
    tidegate::forward(cell, schedule, call);
}

void backward(const std::string& name, const Schedule& schedule, const Input& weight_hh,
              const MaybeIn& mask, const std::vector<MaybeIn>& state0, const Input& gates,
              const MaybeIn& extra, const std::vector<MaybeIn>& states, const MaybeIn& d_y,
              const std::vector<MaybeIn>& d_final, const MaybeOut& d_gates,
              const MaybeOut& d_products, const std::vector<MaybeOut>& d_state0,
              const MaybeOut& d_bias_ih, const MaybeOut& d_bias_hh, const MaybeOut& operand,
              const MaybeOut& second_operand, bool needs_d_state0, bool rounded) {
    const CellKernels& cell = cell_named(name, rounded);
    if (weight_hh.ndim() != 2) throw std::invalid_argument("weight_hh: expected [G*H, H]");
    const auto H = static_cast<std::int64_t>(weight_hh.shape(1));
    const std::int64_t B = schedule.batch, N = schedule.tokens;
    tidegate::BackwardCall call{};
    call.hidden = H;
    call.weight_hh = data_of("weight_hh", MaybeIn(weight_hh), cell.gates * H * H);
    call.mask = data_of("mask", mask, B * H, false);
    call.gates = data_of("gates", MaybeIn(gates), N * cell.gates * H);
    call.extra = data_of("extra", extra, N * cell.extra * H, cell.extra > 0);
    call.d_y = data_of("d_y", d_y, schedule.steps * B * H, false);
    call.d_gates = data_of("d_gates", d_gates, N * cell.gates * H);
    call.d_products = data_of("d_products", d_products, N * cell.separate * H, cell.separate > 0);
    for (int k = 0; k < cell.states; ++k) {
        call.state0[k] = data_of("state0", item("state0", state0, k, cell.states), B * H);
        call.states[k] = data_of("states", item("states", states, k, cell.states),
                                 (k ? N : schedule.steps * B) * H);
        call.d_final[k] =
            data_of("d_final", item("d_final", d_final, k, cell.states), B * H, false);
        call.d_state0[k] = data_of("d_state0", item("d_state0", d_state0, k, cell.states), B * H);
    }
    call.d_bias_ih = data_of("d_bias_ih", d_bias_ih, cell.gates * H);
    call.d_bias_hh = data_of("d_bias_hh", d_bias_hh, cell.gates * H);
    call.operand = data_of("operand", operand, N * H, false);
    call.second_operand = data_of("second_operand", second_operand, N * H, cell.first < cell.gates);
    call.needs_d_state0 = needs_d_state0;
    nb::gil_scoped_release released;
    tidegate::backward(cell, schedule, call);
}

// The width W of rows [T, B, W] and tokens [N, W].
template <class Rows, class Tokens>
std::int64_t width_of(const Schedule& schedule, const Rows& rows, const Tokens& tokens) {
    if (rows.ndim() == 0 || tokens.ndim() == 0)
        throw std::invalid_argument("expected rows [T, B, W] and tokens [N, W]");
    const auto width = static_cast<std::int64_t>(rows.shape(rows.ndim() - 1));
    data_of("rows", std::optional<Rows>(rows), schedule.steps * schedule.batch * width);
    data_of("tokens", std::optional<Tokens>(tokens), schedule.tokens * width);
    return width;
}

void gather(const Schedule& schedule, const Input& rows, const InOut& tokens) {
    const std::int64_t width = width_of(schedule, rows, tokens);
    nb::gil_scoped_release released;
    tidegate::gather(schedule, width, rows.data(), tokens.data());
}

void scatter(const Schedule& schedule, const Input& tokens, const InOut& rows) {
    const std::int64_t width = width_of(schedule, rows, tokens);
    nb::gil_scoped_release released;
    tidegate::scatter(schedule, width, tokens.data(), rows.data());
}

using Strided = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;

tidegate::Operand operand_of(const char* name, const Strided& a, size_t rows, size_t columns) {
    const auto is = [](size_t n) { return std::to_string(n); };
    if (a.shape(0) != rows || a.shape(1) != columns)
        throw std::invalid_argument(std::string(name) + ": expected [" + is(rows) + ", " +
                                    is(columns) + "], got [" + is(a.shape(0)) + ", " +
                                    is(a.shape(1)) + "]");
    if (a.stride(1) == 1 || columns <= 1) return {a.data(), a.stride(0), false};
    if (a.stride(0) == 1 || rows <= 1) return {a.data(), a.stride(1), true};
    throw std::invalid_argument(std::string(name) + ": expected dense rows or dense columns");
}

void multiply(const Strided& a, const Strided& b,
              const nb::ndarray<float, nb::ndim<2>, nb::device::cpu>& out, const MaybeIn& bias,
              bool adds, bool rounded, int threads) {
    tidegate::Product product{};
    const size_t rows = out.shape(0), columns = out.shape(1), depth = a.shape(1);
    if (out.stride(1) != 1 && columns > 1) throw std::invalid_argument("out: expected dense rows");
    product.a = operand_of("a", a, rows, depth);
    product.b = operand_of("b", b, depth, columns);
    product.bias = data_of("bias", bias, static_cast<std::int64_t>(columns), false);
    product.c = out.data();
    product.stride = out.stride(0);
    product.rows = static_cast<std::ptrdiff_t>(rows);
    product.columns = static_cast<std::ptrdiff_t>(columns);
    product.depth = static_cast<std::ptrdiff_t>(depth);
    product.adds = adds;
    nb::gil_scoped_release released;
    tidegate::multiply(kernels_of(rounded), product, threads);
}

void softmax_cross_entropy(const InOut& logits, const Lengths& targets, const InOut& nats,
                           bool gradient, int threads) {
    if (logits.ndim() != 2 || logits.shape(1) < 1)
        throw std::invalid_argument("logits: expected [N, V]");
    const auto rows = static_cast<std::int64_t>(logits.shape(0));
    const auto words = static_cast<std::int64_t>(logits.shape(1));
    float* each = data_of("nats", MaybeOut(nats), rows);
    const std::int64_t* wanted = data_of("targets", std::optional<Lengths>(targets), rows);
    for (std::int64_t r = 0; r < rows; ++r)
        if (wanted[r] < 0 || wanted[r] >= words)
            throw std::invalid_argument("targets: expected 0 to " + std::to_string(words - 1) +
                                        ", got " + std::to_string(wanted[r]));
    nb::gil_scoped_release released;
    tidegate::parallel_for(threads, [&](int i) {
        const std::int64_t first = rows * i / threads, last = rows * (i + 1) / threads;
        tidegate::kernels().softmax_cross_entropy(logits.data() + first * words, last - first,
                                                  words, wanted + first, each + first, gradient);
    });
}

class FlushGuard {
  public:
    explicit FlushGuard(int threads) : threads_(threads) {}
    void enter() { team_ = std::make_unique<tidegate::FlushedTeam>(threads_); }
    void exit() { team_.reset(); }

  private:
    int threads_;
    std::unique_ptr<tidegate::FlushedTeam> team_;
};

using tidegate::Layer;

void new_layer(Layer* self, const std::string& name, const Input& weight_ih, const Input& weight_hh,
               const MaybeIn& bias_ih, const MaybeIn& bias_hh, int threads) {
    const CellKernels& cell = cell_named(name);
    if (weight_hh.ndim() != 2 || weight_ih.ndim() != 2)
        throw std::invalid_argument("weights: expected [G*H, I] and [G*H, H]");
    const auto H = static_cast<std::int64_t>(weight_hh.shape(1));
    const auto I = static_cast<std::int64_t>(weight_ih.shape(1));
    const float* w_ih = data_of("weight_ih", MaybeIn(weight_ih), cell.gates * H * I);
    const float* w_hh = data_of("weight_hh", MaybeIn(weight_hh), cell.gates * H * H);
    const float* b_ih = data_of("bias_ih", bias_ih, cell.gates * H, false);
    const float* b_hh = data_of("bias_hh", bias_hh, cell.gates * H, false);
    nb::gil_scoped_release released;
    new (self) Layer(tidegate::kernels(), cell, I, H, w_ih, w_hh, b_ih, b_hh, threads);
}

void layer_forward(const Layer& layer, const Schedule& schedule, const Input& x,
                   const MaybeIn& mask, const std::vector<MaybeIn>& state0,
                   const std::vector<MaybeOut>& final_state, const InOut& y) {
    const std::int64_t B = schedule.batch, H = layer.hidden();
    const int count = layer.cell().states;
    const float* start[2] = {};
    float* end[2] = {};
    for (int k = 0; k < count; ++k) {
        start[k] = data_of("state0", item("state0", state0, k, count), B * H);
        end[k] = data_of("final", item("final", final_state, k, count), B * H);
    }
    const float* inputs = data_of("x", MaybeIn(x), schedule.steps * B * layer.inputs());
    const float* masks = data_of("mask", mask, B * H, false);
    float* outputs = data_of("y", MaybeOut(y), schedule.steps * B * H);
    nb::gil_scoped_release released;
    layer.forward(schedule, inputs, masks, start, end, outputs);
}

void layer_step(Layer& layer, const Input& x, const InOut& h, const MaybeOut& c) {
    if (x.ndim() != 2) throw std::invalid_argument("x: expected [B, I]");
    const auto B = static_cast<std::int64_t>(x.shape(0));
    const bool has_cell = layer.cell().states > 1;
    data_of("x", MaybeIn(x), B * layer.inputs());
    float* const states[2] = {data_of("h", MaybeOut(h), B * layer.hidden()),
                              data_of("c", c, B * layer.hidden(), has_cell)};
    nb::gil_scoped_release released;
    layer.step(x.data(), B, states);
}

Schedule new_schedule(std::int64_t T, std::int64_t B, const std::optional<Lengths>& lengths,
                      bool reverse, int threads, bool by_units) {
    if (T < 0 || B < 0) throw std::invalid_argument("expected T and B of at least 0");
    if (lengths) {
        if (static_cast<std::int64_t>(lengths->size()) != B)
            throw std::invalid_argument("lengths: expected " + std::to_string(B) + " values, got " +
                                        std::to_string(lengths->size()));
        for (size_t b = 0; b < lengths->size(); ++b)
            if (lengths->data()[b] < 0 || lengths->data()[b] > T)
                throw std::invalid_argument("lengths: expected 0 to " + std::to_string(T) +
                                            ", got " + std::to_string(lengths->data()[b]));
    }
    return tidegate::make_schedule(T, B, lengths ? lengths->data() : nullptr, reverse, threads,
                                   by_units);
}

}  // namespace

NB_MODULE(_engine, m) {
    tidegate::kernels();  // a wrong TIDEGATE_ISA is an ImportError, not a surprise later

    m.def(
        "exp", [](const Input& x) { return apply(tidegate::kernels().exp, x); }, "x"_a.noconvert());
    m.def(
        "tanh", [](const Input& x) { return apply(tidegate::kernels().tanh, x); },
        "x"_a.noconvert());
    m.def(
        "sigmoid", [](const Input& x) { return apply(tidegate::kernels().sigmoid, x); },
        "x"_a.noconvert());
    m.def("isa", [] { return std::string(tidegate::kernels().isa); });
    m.def("available_isas", [] {
        std::vector<std::string> names;
        for (const auto* each : tidegate::available_kernels()) names.emplace_back(each->isa);
        return names;
    });
    m.def("select_isa", [](const std::string& name) { tidegate::select_isa(name.c_str()); });
    m.def("is_intel", tidegate::is_intel);
    m.def("rounding_isa", [] {
        const auto* rounding = tidegate::rounding_kernels();
        return std::string(rounding ? rounding->isa : "");
    });
    m.def("error_bounds", [] {
        const auto& bounds = tidegate::kErrorBounds;
        return std::map<std::string, double>{
            {"exp", bounds.exp}, {"tanh", bounds.tanh}, {"sigmoid", bounds.sigmoid}};
    });

    m.def("cells", [] {
        std::vector<std::string> names;
        for (int i = 0; i < tidegate::kernels().cell_count; ++i)
            names.emplace_back(tidegate::kernels().cells[i].name);
        return names;
    });
    m.def("extra_width", [](const std::string& cell) { return cell_named(cell).extra; });
    m.def("first_gates", [](const std::string& cell) { return cell_named(cell).first; });
    m.def("product_slots", [](const std::string& name) {
        const CellKernels& cell = cell_named(name);
        return std::vector<int>(cell.slot, cell.slot + cell.gates);
    });
    m.def("multiply", multiply, "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(),
          "bias"_a.none(), "adds"_a, "rounded"_a, "threads"_a);
    m.def("softmax_cross_entropy", softmax_cross_entropy, "logits"_a.noconvert(),
          "targets"_a.noconvert(), "nats"_a.noconvert(), "gradient"_a, "threads"_a);
    m.def("empty", empty, "shape"_a);
    m.def("kept_bytes", tidegate::kept_bytes);
    m.attr("most_kept_bytes") = tidegate::kMostKept;
    // a context manager; entered by one thread at a time, as its object is not shared
    nb::class_<FlushGuard>(m, "Flushed")
        .def(nb::init<int>(), "threads"_a)
        .def("__enter__", &FlushGuard::enter)
        .def("__exit__", [](FlushGuard& guard, const nb::args&) { guard.exit(); });
    m.def("adopt_openmp",
          [](const std::string& path) { return tidegate::adopt_openmp(path.c_str()); });

    nb::class_<Schedule>(m, "Schedule")
        .def_ro("tokens", &Schedule::tokens)
        .def_ro("ragged", &Schedule::ragged);
    nb::class_<Layer>(m, "Layer")
        .def("__init__", new_layer, "cell"_a, "weight_ih"_a.noconvert(), "weight_hh"_a.noconvert(),
             "bias_ih"_a.none(), "bias_hh"_a.none(), "threads"_a = 1)
        .def("forward", layer_forward, "schedule"_a, "x"_a.noconvert(), "mask"_a.none(), "state0"_a,
             "final"_a, "y"_a.noconvert())
        .def("step", layer_step, "x"_a.noconvert(), "h"_a.noconvert(),
             "c"_a.noconvert().none() = nb::none());
    m.def("schedule", new_schedule, "T"_a, "B"_a, "lengths"_a.none().noconvert(), "reverse"_a,
          "threads"_a, "by_units"_a = false);
    m.def("gather", gather, "schedule"_a, "rows"_a.noconvert(), "tokens"_a.noconvert());
    m.def("scatter", scatter, "schedule"_a, "tokens"_a.noconvert(), "rows"_a.noconvert());
    m.def("forward", forward, "cell"_a, "schedule"_a, "weight_hh"_a.noconvert(), "bias_hh"_a.none(),
          "mask"_a.none(), "state0"_a, "gates"_a, "extra"_a.none(), "states"_a, "final"_a,
          "rounded"_a);
    m.def("backward", backward, "cell"_a, "schedule"_a, "weight_hh"_a.noconvert(), "mask"_a.none(),
          "state0"_a, "gates"_a, "extra"_a.none(), "states"_a, "d_y"_a.none(), "d_final"_a,
          "d_gates"_a, "d_products"_a.none(), "d_state0"_a, "d_bias_ih"_a, "d_bias_hh"_a,
          "operand"_a.none(), "second_operand"_a.none(), "needs_d_state0"_a, "rounded"_a);
}
