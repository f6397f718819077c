// The module tidegate._engine: checks what comes from Python, then calls the kernels in use.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <memory>
#include <string>

#include "kernels.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<nb::numpy, float>;

Output apply(tidegate::Elementwise function, const Input& x) {
    auto values = std::make_unique<float[]>(x.size());
    {
        nb::gil_scoped_release released;
        function(x.data(), values.get(), static_cast<std::ptrdiff_t>(x.size()));
    }
    std::vector<size_t> shape(x.ndim());
    for (size_t axis = 0; axis < shape.size(); ++axis) shape[axis] = x.shape(axis);
    float* data = values.release();
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    return Output(data, shape.size(), shape.data(), owner);
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
    m.def("error_bounds", [] {
        const auto& bounds = tidegate::kErrorBounds;
        return std::map<std::string, double>{
            {"exp", bounds.exp}, {"tanh", bounds.tanh}, {"sigmoid", bounds.sigmoid}};
    });
}
