#include "shared_product.h"

#include "memory.h"
#include "threads.h"

namespace tidegate {
namespace {

// Shares begin where a tile does.
constexpr std::ptrdiff_t kUnit = 48;

std::ptrdiff_t share(std::ptrdiff_t size, int i, int threads) {
    const std::ptrdiff_t units = (size + kUnit - 1) / kUnit, first = units * i / threads * kUnit;
    return first < size ? first : size;
}

}  // namespace

void multiply(const Kernels& kernels, const Product& product, int threads) {
    parallel_for(threads, [&](int i) {
        Product part = product;
        // the longer way, as each thread packs the other factor for itself
        if (product.rows >= product.columns) {
            const std::ptrdiff_t first = share(product.rows, i, threads);
            part.rows = share(product.rows, i + 1, threads) - first;
            part.a.data += first * (product.a.transposed ? 1 : product.a.stride);
            part.c += first * product.stride;
        } else {
            const std::ptrdiff_t first = share(product.columns, i, threads);
            part.columns = share(product.columns, i + 1, threads) - first;
            part.b.data += first * (product.b.transposed ? product.b.stride : 1);
            part.c += first;
            if (product.bias) part.bias += first;
        }
        if (part.rows == 0 || part.columns == 0) return;
        const Buffer workspace(kernels.product_workspace_floats(part.columns));
        kernels.multiply(part, workspace.data());
    });
}

}  // namespace tidegate
