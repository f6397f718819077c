// What a layer's functions take from Python: lists in the order in which its cell declares them.
#pragma once

#include "bindings.h"
#include "engine/part.h"

namespace tidegate {

template <class Array>
using List = std::vector<std::optional<Array>>;

template <class Array>
const List<Array>& of_length(const char* name, const List<Array>& list, int expected) {
    if (static_cast<int>(list.size()) != expected)
        throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(expected) +
                                    " arrays, got " + std::to_string(list.size()));
    return list;
}

inline std::int64_t axis(const Input& array, std::size_t axis) {
    return axis < array.ndim() ? static_cast<std::int64_t>(array.shape(axis)) : 0;
}

// H of rows [blocks * H, ...] or, with `of_last`, of [..., blocks * H].
inline std::int64_t units_of(const char* name, const Input& array, int blocks, bool of_last) {
    const std::int64_t whole = axis(array, of_last ? array.ndim() - 1 : 0);
    if (array.ndim() > 0 && whole > 0 && whole % blocks == 0) return whole / blocks;
    const std::string rows = std::to_string(blocks) + " * H";
    throw std::invalid_argument(std::string(name) + ": expected [" +
                                (of_last ? "N, " + rows : rows + ", I") +
                                "] with H of at least 1, got " + shape_text(shape_of(array)));
}

// P of projections [P, H]; H where the cell has none.
inline std::int64_t projected_units(const Cell& cell, const List<Input>& weights, std::int64_t H) {
    for (int i = 0; i < cell.parameters; ++i) {
        const auto& given = weights[static_cast<std::size_t>(i)];
        if (cell.parameter[i].role != Role::kProjection || !given) continue;
        if (axis(*given, 0) > 0) return axis(*given, 0);
        throw std::invalid_argument(std::string(cell.parameter[i].name) +
                                    ": expected [P, H] with P of at least 1, got " +
                                    shape_text(shape_of(*given)));
    }
    return H;
}

// What the parameters of one role are to a call.
enum class Use { kNeeds, kTakes, kLeaves };

// The given arrays, in the order in which the cell declares its parameters, as pointers by role,
// once their shapes are what the sizes say. `uses(role)`: whether a role must be given, or may be.
template <class W, class Array, class Uses>
W weights_of(const Cell& cell, const Sizes& sizes, std::int64_t inputs, const List<Array>& given,
             const Uses& uses) {
    W weights{};
    const std::int64_t H = sizes.hidden;
    int vector = 0, projection = 0;
    for (int i = 0; i < cell.parameters; ++i) {
        const Parameter& p = cell.parameter[i];
        const auto& array = given[static_cast<std::size_t>(i)];
        const Use use = uses(p.role);
        const bool needed = use == Use::kNeeds;
        if (use == Use::kLeaves && array)
            throw std::invalid_argument(std::string(p.name) + ": expected None");
        const std::int64_t rows = p.blocks * H;
        switch (p.role) {
            case Role::kInput:
                weights.input = data_of(p.name, array, {rows, inputs}, needed);
                break;
            case Role::kRecurrent:
                weights.recurrent = data_of(p.name, array, {rows, sizes.recurrent(cell)}, needed);
                break;
            case Role::kInputBias:
                weights.input_bias = data_of(p.name, array, {rows}, needed);
                break;
            case Role::kRecurrentBias:
                weights.recurrent_bias = data_of(p.name, array, {rows}, needed);
                break;
            case Role::kVector: {
                auto* data = data_of(p.name, array, {rows}, needed);
                for (int k = 0; k < p.blocks; ++k)
                    weights.vectors[vector++] = data ? data + k * H : nullptr;
                break;
            }
            case Role::kProjection:
                weights.projections[projection++] =
                    data_of(p.name, array, {sizes.projected, H}, needed);
                break;
        }
    }
    return weights;
}

// Gradients of a layer's parameters, as `Weights` has these.
struct Gradients {
    float *input, *recurrent, *input_bias, *recurrent_bias;
    float* vectors[kMostBlocks];
    float* projections[kMost];
};

inline BatchMask mask_of(const Cell& cell, const Sizes& sizes, std::int64_t B,
                         const MaybeIn& mask) {
    if (!mask) return {};
    const std::int64_t W = sizes.recurrent(cell);
    if (mask->ndim() != 3) return {data_of("mask", mask, {B, W}), false};
    return {data_of("mask", mask, {cell.blocks(Role::kRecurrent), B, W}), true};
}

}  // namespace tidegate
