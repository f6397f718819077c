// What the module's functions take from Python, and how it is checked.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/kernels.h"
#include "engine/limits.h"
#include "engine/own_cells.h"

namespace tidegate {

namespace nb = nanobind;

using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using InOut = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using MaybeIn = std::optional<Input>;
using MaybeOut = std::optional<InOut>;

inline int checked_threads(int threads) {
    if (threads < 1 || threads > kMostThreads)
        throw std::invalid_argument("threads: expected 1 to " + std::to_string(kMostThreads) +
                                    ", got " + std::to_string(threads));
    return threads;
}

inline Factors factors_named(const std::string& name) {
    if (name == "float32") return Factors::kFloat32;
    if (name == "bfloat16") return Factors::kBfloat16;
    if (name == "int8") return Factors::kInt8;
    throw std::invalid_argument("factors: expected float32, bfloat16 or int8, got '" + name + "'");
}

inline std::string shape_text(const std::vector<std::int64_t>& shape) {
    std::string text;
    for (const std::int64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
    return "[" + text + "]";
}

template <class Array>
std::vector<std::int64_t> shape_of(const Array& array) {
    std::vector<std::int64_t> shape(array.ndim());
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        shape[axis] = static_cast<std::int64_t>(array.shape(axis));
    return shape;
}

template <class Array>
bool has_shape(const Array& array, std::initializer_list<std::int64_t> shape) {
    if (array.ndim() != shape.size()) return false;
    std::size_t axis = 0;
    for (const std::int64_t n : shape)
        if (static_cast<std::int64_t>(array.shape(axis++)) != n) return false;
    return true;
}

// The data of an array; one whose memory was freed says that it has numbers and has none.
template <class Array>
auto memory_of(const char* name, const Array& array) -> decltype(array.data()) {
    if (array.size() > 0 && array.data() == nullptr)
        throw std::invalid_argument(std::string(name) +
                                    ": expected an array with memory, got one without");
    return array.data();
}

// The data of an array that must have this shape; null for None where that is allowed.
template <class Array>
auto data_of(const char* name, const std::optional<Array>& array,
             std::initializer_list<std::int64_t> shape, bool required = true)
    -> decltype(array->data()) {
    if (!array) {
        if (required) throw std::invalid_argument(std::string(name) + ": expected an array");
        return nullptr;
    }
    if (!has_shape(*array, shape))
        throw std::invalid_argument(std::string(name) + ": expected " + shape_text(shape) +
                                    ", got " + shape_text(shape_of(*array)));
    return memory_of(name, *array);
}

// `rounded`: those whose products have bfloat16 factors, where there are any.
inline const Kernels& kernels_of(bool rounded) {
    const Kernels* rounding = rounded ? rounding_kernels() : nullptr;
    return rounding ? *rounding : kernels();
}

// The same for a cell; one that was compiled apart is in the set in use alone.
inline const Kernels& kernels_of(bool rounded, const std::string& cell) {
    const Kernels& found = kernels_of(rounded);
    return find_cell(found, cell) ? found : kernels();
}

inline const CellKernels& cell_named(const Kernels& kernels, const std::string& name) {
    if (const CellKernels* found = find_cell(kernels, name)) return *found;
    throw std::invalid_argument("cell: expected one the engine has, got '" + name + "'");
}

// Adds to the module the schedules, the passes of training and the layers for inference.
void bind_layers(nb::module_& module);
// Adds a network's step as one call; after the layers.
void bind_reading(nb::module_& module);

}  // namespace tidegate
