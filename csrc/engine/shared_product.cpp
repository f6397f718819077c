#include "shared_product.h"

#include <algorithm>

#include "memory.h"
#include "threads/crowd.h"
#include "threads/threads.h"

namespace tidegate {
namespace {

// Shares begin where a tile does.
constexpr std::ptrdiff_t kUnit = 48;

std::ptrdiff_t share(std::ptrdiff_t size, int i, int threads) {
    const std::ptrdiff_t units = (size + kUnit - 1) / kUnit, first = units * i / threads * kUnit;
    return first < size ? first : size;
}

// The rows that a kernel multiplies at a time: a share cut there gives the same bits.
constexpr std::ptrdiff_t kBlock = 2 * kUnit;
// A piece's rows at least, since each packs the other factor; and the pieces of a share at most.
constexpr std::ptrdiff_t kFewestRows = 4 * kBlock, kMostCuts = 8;

// Of a share of so many rows in a crowd: a thread that has a processor takes what another, which
// has lost its own, has not begun.
int cuts_of(std::ptrdiff_t rows) {
    return static_cast<int>(std::clamp<std::ptrdiff_t>(rows / kFewestRows, 1, kMostCuts));
}

void take_rows(Product& part, std::ptrdiff_t first, std::ptrdiff_t last) {
    part.rows = last - first;
    part.a.data += first * (part.a.transposed ? 1 : part.a.stride);
    part.c += first * part.stride;
}

}  // namespace

void multiply(const Kernels& kernels, const Product& product, int threads) {
    // the longer way, as each thread packs the other factor for itself
    const bool by_rows = product.rows >= product.columns;
    const std::ptrdiff_t rows = by_rows ? (product.rows + threads - 1) / threads : product.rows;
    const int cuts = threads > 1 && crowded() ? cuts_of(rows) : 1;
    parallel_for(threads * cuts, threads, [&](int piece) {
        const int i = piece / cuts, cut = piece % cuts;
        Product part = product;
        if (by_rows) {
            const std::ptrdiff_t first = share(product.rows, i, threads);
            take_rows(part, first, share(product.rows, i + 1, threads));
        } else {
            const std::ptrdiff_t first = share(product.columns, i, threads);
            part.columns = share(product.columns, i + 1, threads) - first;
            part.b.data += first * (product.b.transposed ? product.b.stride : 1);
            part.c += first;
            if (product.bias) part.bias += first;
        }
        const std::ptrdiff_t blocks = (part.rows + kBlock - 1) / kBlock;
        take_rows(part, std::min(blocks * cut / cuts * kBlock, part.rows),
                  std::min(blocks * (cut + 1) / cuts * kBlock, part.rows));
        if (part.rows == 0 || part.columns == 0) return;
        const Buffer workspace(kernels.product_workspace_floats(part.columns));
        kernels.multiply(part, workspace.data());
    });
}

}  // namespace tidegate
