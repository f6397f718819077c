#include "part.h"

#include <algorithm>
#include <cstring>

namespace tidegate {
namespace {

std::size_t bytes_of(std::int64_t floats) {
    return sizeof(float) * static_cast<std::size_t>(floats);
}

bool is_in_order(const Schedule::Part& part) {
    const auto n = static_cast<std::int64_t>(part.rows.size());
    return part.rows.back() - part.rows.front() == n - 1 &&
           std::is_sorted(part.rows.begin(), part.rows.end());
}

}  // namespace

void copy_rows(const float* all, const Schedule::Part& part, std::int64_t width, float* rows) {
    for (std::size_t j = 0; j < part.rows.size(); ++j)
        std::memcpy(rows + static_cast<std::int64_t>(j) * width, all + part.rows[j] * width,
                    bytes_of(width));
}

void put_rows(const float* rows, const Schedule::Part& part, std::int64_t width, float* all) {
    for (std::size_t j = 0; j < part.rows.size(); ++j)
        std::memcpy(all + part.rows[j] * width, rows + static_cast<std::int64_t>(j) * width,
                    bytes_of(width));
}

void put_last_rows(const Schedule::Part& part, std::int64_t width, float* const blocks[2],
                   float* all) {
    for (std::size_t j = 0; j < part.rows.size(); ++j)
        std::memcpy(all + part.rows[j] * width,
                    blocks[part.lengths[j] % 2] + static_cast<std::int64_t>(j) * width,
                    bytes_of(width));
}

PartRows::PartRows(const float* all, const Schedule::Part& part, std::int64_t width) {
    if (!all || part.rows.empty()) return;
    if (is_in_order(part)) {
        rows_ = all + part.rows.front() * width;
        return;
    }
    own_ = std::make_unique<Buffer>(static_cast<std::int64_t>(part.rows.size()) * width);
    copy_rows(all, part, width, own_->data());
    rows_ = own_->data();
}

PartMask::PartMask(const BatchMask& mask, std::int64_t batch, int blocks,
                   const Schedule::Part& part, std::int64_t width) {
    if (!mask.data || part.rows.empty()) return;
    mask_.per_gate = mask.per_gate;
    if (is_in_order(part)) {
        mask_.data = mask.data + part.rows.front() * width;
        mask_.stride = batch * width;
        return;
    }
    const auto n = static_cast<std::int64_t>(part.rows.size());
    const int masks = mask.per_gate ? blocks : 1;
    mask_.stride = n * width;
    own_ = std::make_unique<Buffer>(masks * mask_.stride);
    for (int g = 0; g < masks; ++g)
        copy_rows(mask.data + g * batch * width, part, width, own_->data() + g * mask_.stride);
    mask_.data = own_->data();
}

float* Workspace::take(std::int64_t floats) {
    if (floats == 0) return nullptr;
    taken_.push_back(std::make_unique<Buffer>(floats));
    return taken_.back()->data();
}

void Workspace::fill(ForwardSweep& sweep, const Kernels& kernels, const Cell& cell, std::int64_t n,
                     bool training) {
    const Sizes& sizes = sweep.sizes;
    sweep.most_rows = n;
    for (int k = 0; k < (training ? 1 : cell.states); ++k) {
        const std::int64_t block = n * sizes.of(cell.state[k]);
        const bool in_place = cell.state[k].in_place;
        sweep.states[k][0] = take(in_place ? block : 2 * block);
        sweep.states[k][1] = sweep.states[k][0] + (in_place ? 0 : block);
    }
    for (int k = 0; k < cell.operands; ++k) {
        const CellOperand& operand = cell.operand[k];
        const bool masked = operand.masked && sweep.mask.data;
        if (operand.state >= 0 && !masked) continue;
        const std::int64_t copies = masked && sweep.mask.per_gate ? operand.products : 1;
        const std::int64_t block = copies * n * sizes.of(cell, operand);
        sweep.operands[k][0] = take(operand.state >= 0 ? 2 * block : block);
        sweep.operands[k][1] = sweep.operands[k][0] + (operand.state >= 0 ? block : 0);
    }
    sweep.carried = take(n * cell.carried * sizes.hidden);
    sweep.workspace = take(kernels.workspace_floats(cell, sizes, n, sweep.mask.per_gate));
}

void Workspace::fill(BackwardSweep& sweep, const Kernels& kernels, const Cell& cell,
                     std::int64_t n) {
    const Sizes& sizes = sweep.sizes;
    sweep.most_rows = n;
    for (int k = 0; k < cell.states; ++k) sweep.d_states[k] = take(n * sizes.of(cell.state[k]));
    for (int k = 0; k < cell.operands; ++k)
        if (cell.operand[k].state < 0) sweep.d_operands[k] = take(n * sizes.hidden);
    sweep.carried = take(n * cell.carried_back * sizes.hidden);
    sweep.workspace = take(kernels.workspace_floats(cell, sizes, n, sweep.mask.per_gate));
}

}  // namespace tidegate
