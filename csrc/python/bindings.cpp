// The module tidegate._engine: functions of arrays, products, what is asked of the engine itself.
#include "bindings.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <memory>

#include "engine/memory.h"
#include "engine/processor.h"
#include "engine/shared_product.h"
#include "threads/openmp.h"
#include "threads/threads.h"

namespace tidegate {

using namespace nb::literals;

namespace {

template <class T>
nb::ndarray<nb::numpy, T> new_array(T* data, const std::vector<size_t>& shape) {
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.data(), owner);
}

// Undefined values in memory that is kept when the array dies: see memory.h.
nb::ndarray<float, nb::device::cpu> empty(const std::vector<size_t>& shape) {
    std::int64_t size = 1;
    for (const size_t length : shape) {
        if (length > 0 && size > (std::int64_t{1} << 60) / static_cast<std::int64_t>(length))
            throw std::bad_alloc();
        size *= static_cast<std::int64_t>(length);
    }
    auto buffer = std::make_unique<Buffer>(size);
    float* data = buffer->data();
    nb::capsule owner(buffer.get(), [](void* p) noexcept { delete static_cast<Buffer*>(p); });
    buffer.release();
    return {data, shape.size(), shape.data(), owner};
}

nb::ndarray<nb::numpy, float> apply(Elementwise function, const Input& x) {
    auto values = std::make_unique<float[]>(x.size());
    const float* given = memory_of("x", x);
    {
        nb::gil_scoped_release released;
        function(given, values.get(), static_cast<std::ptrdiff_t>(x.size()));
    }
    std::vector<size_t> shape(x.ndim());
    for (size_t axis = 0; axis < shape.size(); ++axis) shape[axis] = x.shape(axis);
    return new_array(values.release(), shape);
}

using Strided = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;

Operand operand_of(const char* name, const Strided& a, size_t rows, size_t columns) {
    const auto is = [](size_t n) { return std::to_string(n); };
    if (a.shape(0) != rows || a.shape(1) != columns)
        throw std::invalid_argument(std::string(name) + ": expected [" + is(rows) + ", " +
                                    is(columns) + "], got [" + is(a.shape(0)) + ", " +
                                    is(a.shape(1)) + "]");
    const float* data = memory_of(name, a);
    if (a.stride(1) == 1 || columns <= 1) return {data, a.stride(0), false};
    if (a.stride(0) == 1 || rows <= 1) return {data, a.stride(1), true};
    throw std::invalid_argument(std::string(name) + ": expected dense rows or dense columns");
}

void multiply_arrays(const Strided& a, const Strided& b,
                     const nb::ndarray<float, nb::ndim<2>, nb::device::cpu>& out,
                     const MaybeIn& bias, bool adds, bool rounded, int threads) {
    Product product{};
    const size_t rows = out.shape(0), columns = out.shape(1), depth = a.shape(1);
    if (out.stride(1) != 1 && columns > 1) throw std::invalid_argument("out: expected dense rows");
    product.a = operand_of("a", a, rows, depth);
    product.b = operand_of("b", b, depth, columns);
    product.bias = data_of("bias", bias, {static_cast<std::int64_t>(columns)}, false);
    product.c = memory_of("out", out);
    product.stride = out.stride(0);
    product.rows = static_cast<std::ptrdiff_t>(rows);
    product.columns = static_cast<std::ptrdiff_t>(columns);
    product.depth = static_cast<std::ptrdiff_t>(depth);
    product.adds = adds;
    checked_threads(threads);
    nb::gil_scoped_release released;
    multiply(kernels_of(rounded), product, threads);
}

void softmax_cross_entropy(const InOut& logits, const Integers& targets, const InOut& nats,
                           bool gradient, int threads) {
    if (logits.ndim() != 2 || logits.shape(1) < 1)
        throw std::invalid_argument("logits: expected [N, V]");
    const auto rows = static_cast<std::int64_t>(logits.shape(0));
    const auto words = static_cast<std::int64_t>(logits.shape(1));
    float* scores = memory_of("logits", logits);
    float* each = data_of("nats", MaybeOut(nats), {rows});
    const std::int64_t* wanted = data_of("targets", std::optional<Integers>(targets), {rows});
    for (std::int64_t r = 0; r < rows; ++r)
        if (wanted[r] < 0 || wanted[r] >= words)
            throw std::invalid_argument("targets: expected 0 to " + std::to_string(words - 1) +
                                        ", got " + std::to_string(wanted[r]));
    checked_threads(threads);
    nb::gil_scoped_release released;
    parallel_for(threads, [&](int i) {
        const std::int64_t first = rows * i / threads, last = rows * (i + 1) / threads;
        kernels().softmax_cross_entropy(scores + first * words, last - first, words, wanted + first,
                                        each + first, gradient);
    });
}

class FlushGuard {
  public:
    explicit FlushGuard(int threads) : threads_(checked_threads(threads)) {}
    void enter() {
        if (team_) throw std::runtime_error("Flushed: entered a second time");
        team_ = std::make_unique<FlushedTeam>(threads_);
    }
    void exit() { team_.reset(); }

  private:
    int threads_;
    std::unique_ptr<FlushedTeam> team_;
};

}  // namespace
}  // namespace tidegate

NB_MODULE(_engine, m) {
    using namespace tidegate;
    kernels();  // a wrong TIDEGATE_ISA is an ImportError, not a surprise later

    m.def("exp", [](const Input& x) { return apply(kernels().exp, x); }, "x"_a.noconvert());
    m.def("tanh", [](const Input& x) { return apply(kernels().tanh, x); }, "x"_a.noconvert());
    m.def("sigmoid", [](const Input& x) { return apply(kernels().sigmoid, x); }, "x"_a.noconvert());
    m.def("log", [](const Input& x) { return apply(kernels().log, x); }, "x"_a.noconvert());
    m.def("rsqrt", [](const Input& x) { return apply(kernels().rsqrt, x); }, "x"_a.noconvert());
    m.def("erf", [](const Input& x) { return apply(kernels().erf, x); }, "x"_a.noconvert());
    m.def("isa", [] { return std::string(kernels().isa); });
    m.def("available_isas", [] {
        std::vector<std::string> names;
        for (const auto* each : available_kernels()) names.emplace_back(each->isa);
        return names;
    });
    m.def("select_isa", [](const std::string& name) { select_isa(name.c_str()); });
    m.def("is_intel", is_intel);
    m.def("rounding_isa", [] {
        const auto* rounding = rounding_kernels();
        return std::string(rounding ? rounding->isa : "");
    });
    m.def("inference_isa", [](const std::string& factors) {
        const Kernels* found = inference_kernels(factors_named(factors));
        return std::string(found ? found->isa : "");
    });
    m.def("error_bounds", [] {
        const auto& bounds = kErrorBounds;
        return std::map<std::string, double>{{"exp", bounds.exp},         {"tanh", bounds.tanh},
                                             {"sigmoid", bounds.sigmoid}, {"log", bounds.log},
                                             {"rsqrt", bounds.rsqrt},     {"erf", bounds.erf}};
    });

    m.def("cells", [] {
        std::vector<std::string> names;
        for (int i = 0; i < kernels().cell_count; ++i)
            names.emplace_back(kernels().cells[i].cell->name);
        return names;
    });
    m.def(
        "has_cell", [](const std::string& name) { return find_cell(kernels(), name) != nullptr; },
        "name"_a);
    m.def("load_cell", load_cell, "path"_a, "isa"_a);
    m.def("own_cell_flags", own_cell_flags, "isa"_a);
    m.attr("own_cell_headers") = own_cell_headers();
    m.def("multiply", multiply_arrays, "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(),
          "bias"_a.noconvert().none(), "adds"_a, "rounded"_a, "threads"_a);
    m.def("softmax_cross_entropy", softmax_cross_entropy, "logits"_a.noconvert(),
          "targets"_a.noconvert(), "nats"_a.noconvert(), "gradient"_a, "threads"_a);
    m.def("empty", empty, "shape"_a);
    m.def("kept_bytes", kept_bytes);
    m.attr("most_kept_bytes") = kMostKept;
    m.attr("most_threads") = kMostThreads;
    // a context manager; entered by one thread at a time, as its object is not shared
    nb::class_<FlushGuard>(m, "Flushed")
        .def(nb::init<int>(), "threads"_a)
        .def("__enter__", &FlushGuard::enter)
        .def("__exit__", [](FlushGuard& guard, const nb::args&) { guard.exit(); });
    m.def("adopt_openmp", [](const std::string& path) { return adopt_openmp(path.c_str()); });
    bind_layers(m);
    bind_reading(m);
}
